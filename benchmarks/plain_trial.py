"""CPU seconds of one trial as a plain script, for comparison with a trial of a sweep.

    python -m benchmarks.plain_trial SETTINGS.json

Follows the published procedure in a separate process: imports torch and Mantis, opens every
recording's IMU file and keeps the windows in memory, trains channel by channel with the library's
Mantis, resizes the windows at each step, concatenates the queue again at each step, decodes eight
frames of every val window in each epoch although only the IMU is used, and probes with
scikit-learn's `GridSearchCV` over `SVC(probability=True)`. The teacher's features are precomputed,
and the learning rate follows the real steps, so that this student learns what the sweep's learn.

Prints one line of JSON: CPU seconds by part, and Acc@1 on test. Knows nothing about sweeps. It uses
only comodo's decoder, which is as fast as others.
"""

import csv
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mantis.architecture import MantisV1
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset

from comodo.data.video import decode_frames

FRAMES = 8  # of a window, as TimeSformer takes
C_GRID = [10.0**exponent for exponent in range(-4, 5)]
EMBEDDING, HIDDEN = 128, 2048
Item = tuple[Tensor, ...]


class Recorded(Dataset[Item]):
    """The windows of a split in memory; with `video` each access decodes a window's frames."""

    def __init__(self, settings: dict[str, Any], split: str, video: bool = False) -> None:
        self.seconds, self.video, self.decoding = settings["window_seconds"], video, 0.0
        self.imu: list[Tensor] = []
        self.label: list[int] = []
        self.place: list[tuple[str, int]] = []  # video and number within it
        folder, feature = Path(settings["folder"]), np.load(settings["features"])
        row_of = {str(id): row for row, id in enumerate(feature["id"])}
        feature_NF, rows = feature["feature"], []
        with (folder / "manifest.csv").open(newline="") as file:
            manifest = list(csv.DictReader(file))
        classes = sorted({line["label"] for line in manifest})
        for line in manifest:
            if line["split"] != split:
                continue
            samples = round(self.seconds * float(line["imu_rate"]))
            imu_NC = np.load(folder / line["imu"])
            for number in range(len(imu_NC) // samples):
                window_TC = imu_NC[number * samples : (number + 1) * samples]
                self.imu.append(torch.from_numpy(window_TC.T.copy()))
                self.label.append(classes.index(line["label"]))
                self.place.append((str(folder / line["video"]), number))
                rows.append(row_of[f"{line['recording']}:{number}"])
        self.feature_NF = torch.from_numpy(feature_NF[rows])

    def __len__(self) -> int:
        return len(self.imu)

    def __getitem__(self, index: int) -> Item:
        item = self.imu[index], torch.tensor(index)
        if not self.video:
            return item
        began = time.process_time()
        path, number = self.place[index]
        start = number * self.seconds
        frames = decode_frames(path, start, start + self.seconds, FRAMES)
        self.decoding += time.process_time() - began
        return *item, torch.from_numpy(frames)


class Parts(dict[str, float]):
    """CPU seconds of this process by part, from its start."""

    def until_now(self, part: str) -> None:
        spent = time.process_time() - sum(self.values())
        self[part] = self.get(part, 0.0) + spent


def mlp(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.GELU(), nn.Linear(HIDDEN, EMBEDDING)
    )


def encode(network: nn.Module, imu_BCT: Tensor, samples: int) -> Tensor:
    """Features `[B, D]`, one channel after the other."""
    imu_BCT = functional.interpolate(imu_BCT, size=samples, mode="linear", align_corners=False)
    channels = range(imu_BCT.shape[1])
    return torch.cat([network(imu_BCT[:, [channel]]) for channel in channels], dim=1)


def distribution_loss(
    student_BD: Tensor, teacher_BD: Tensor, key_KD: Tensor, tau_v: float, tau_x: float
) -> Tensor:
    """The formula as it is written."""
    student_BD = functional.normalize(student_BD, dim=1)
    teacher_BK = (teacher_BD @ key_KD.T / tau_v).softmax(dim=1)
    student_BK = (student_BD @ key_KD.T / tau_x).log_softmax(dim=1)
    return -(teacher_BK * student_BK).sum(dim=1).mean()


def probe(train_ND: Tensor, label_N: list[int], test_ND: Tensor, test_label_N: list[int]) -> float:
    """Acc@1 from probabilities, C by five-fold accuracy."""
    unit_ND, test_unit_ND = normalize(train_ND.numpy()), normalize(test_ND.numpy())
    scaler = StandardScaler().fit(unit_ND)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # probability= is deprecated
        search = GridSearchCV(SVC(probability=True, random_state=0), {"C": C_GRID}, cv=5)
        search.fit(scaler.transform(unit_ND), label_N)
    answer_N = search.predict_proba(scaler.transform(test_unit_ND)).argmax(axis=1)
    return float((search.classes_[answer_N] == np.array(test_label_N)).mean())


def trial(settings: dict[str, Any]) -> dict[str, Any]:
    parts = Parts()
    torch.set_num_threads(1)
    torch.manual_seed(settings["seed"])
    epochs, batch, queue = settings["epochs"], settings["batch_size"], settings["queue_size"]
    tau_v, tau_x = settings["teacher_temperature"], settings["student_temperature"]
    train, val = Recorded(settings, "train"), Recorded(settings, "val", video=True)
    test = Recorded(settings, "test")
    network = MantisV1(**settings["size"], device="cpu")
    samples = settings["size"]["seq_len"]
    head = mlp(6 * settings["size"]["hidden_dim"])
    teacher_head = mlp(train.feature_NF.shape[1]).eval()
    with torch.no_grad():
        teacher_ND, val_ND = (
            functional.normalize(teacher_head(split.feature_NF), dim=1) for split in (train, val)
        )
    anchor_of = {label: val_ND[val.label.index(label)] for label in sorted(set(val.label))}
    anchor_KD, anchor_label_K = torch.stack([*anchor_of.values()]), [*anchor_of]
    optimizer = torch.optim.AdamW(
        [*network.parameters(), *head.parameters()], lr=settings["learning_rate"]
    )
    order_N = torch.randperm(len(train))
    key_KD, fresh = teacher_ND[order_N[:queue]], Subset(train, order_N[queue:].tolist())
    steps = -(-len(fresh) // batch) + (epochs - 1) * -(-len(train) // batch)
    rising = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(step / rising, (steps - step) / max(1, steps - rising))
    )
    val_loader = DataLoader(val, batch)
    parts.until_now("start and load")
    for epoch in range(epochs):
        windows: Dataset[Item] = train if epoch else fresh
        network.train()
        head.train()
        for imu_BCT, index_B in DataLoader(windows, batch, shuffle=True):
            student_BD = head(encode(network, imu_BCT, samples))
            teacher_BD = teacher_ND[index_B]
            keys_KD = torch.cat([key_KD, teacher_BD])
            loss = distribution_loss(student_BD, teacher_BD, keys_KD, tau_v, tau_x)
            key_KD = keys_KD[len(index_B) :]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        parts.until_now("train")
        network.eval()
        head.eval()
        hits = 0
        with torch.no_grad():
            for imu_BCT, index_B, _ in val_loader:
                student_BD = functional.normalize(head(encode(network, imu_BCT, samples)), dim=1)
                answer_B = (student_BD @ anchor_KD.T).argmax(dim=1)
                answers = zip(index_B.tolist(), answer_B.tolist(), strict=True)
                hits += sum(val.label[index] == anchor_label_K[k] for index, k in answers)
        parts.until_now("validate")
    with torch.no_grad():
        features = {
            name: torch.cat([encode(network, imu, samples) for imu, _ in DataLoader(split, batch)])
            for name, split in (("train", train), ("test", test))
        }
    accuracy = probe(features["train"], train.label, features["test"], test.label)
    parts.until_now("probe")
    parts["validate"] -= val.decoding
    return {
        "parts": {**parts, "decode val videos": val.decoding},
        "val/zero_shot/acc1": hits / len(val),
        "test/acc1": accuracy,
    }


if __name__ == "__main__":
    print(json.dumps(trial(json.loads(Path(sys.argv[1]).read_text()))))
