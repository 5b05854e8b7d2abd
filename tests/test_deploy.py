"""comodo export: one program from raw samples to probabilities, checked in the runtimes."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from scipy.special import expit
from torch import nn

from comodo.config import Sweep
from comodo.deploy import DeployError, check_installed
from comodo.deploy.export import Exported, export_run
from comodo.deploy.programs import (
    ONNX,
    TORCH,
    largest_difference,
    load_onnx,
    load_torch,
    write_programs,
)
from comodo.deploy.recogniser import (
    Coupling,
    Preprocessing,
    Recogniser,
    Sensor,
    SVMClassifier,
    resampling,
)
from comodo.distill import Report
from comodo.found import Found
from comodo.imu import STANDARD_GRAVITY, ImuError, ImuStream, resample
from comodo.platt import couple
from comodo.probe import SVMProbe
from comodo.saved import Saved
from comodo.store import Store, read_json, write_json
from comodo.trial import Evaluation, Trial, run_trial
from tests import tiny_students
from tests.helpers import make_arrays, trial_config
