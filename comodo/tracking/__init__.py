"""The one room that talks to MLflow."""
