"""Records in MLflow. The only package that imports mlflow."""

import os

# MLflow reads these when it is imported. Its telemetry is on by default, and its server would run
# jobs for agents.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
# `tracking.record_queue` retries; a retry by MLflow would record twice if only the answer was lost.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
# Otherwise it prints two lines for each run on a server.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
