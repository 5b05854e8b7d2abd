"""An epoch of a distillation trial after encoding, against the published procedure.

    python -m benchmarks.epoch --windows 256 --val 64 --repeats 2

Both sides train one student of Mantis-8M's size from the same random weights, in the same number
of steps on the same number of windows of 6 x 1,000 samples, and then process the validation
windows. They take turns, and the first epoch of each is a warm-up. Before that, a check shows that
they compute the same: loss and gradients of one step in float32, with the student's dropout off.

published  The known procedure of the public code, written again: the library's own Mantis, channel
           by channel, windows interpolated to 512 samples at every step and collated one by one;
           the loss as its formula is written, over a queue that is copied at every step. Its
           validation opens and decodes each window's video and uses nothing of it. The decoder is
           ours and the videos are short: with others the epoch would take longer, not less.
ours       `Distillation.train_epoch` and `epoch_accuracy` on packed and resized arrays, as in a
           trial, which also writes a checkpoint (benchmarks/engine.py includes that).

The baseline computes in float32 without TF32. The queue's windows are not left out of any epoch,
so that all epochs are equal. Knows neither Ray nor MLflow and uses no real recordings: costs do
not depend on the content of a window.

Shape letters: N windows, B of them in a batch, C channels, T samples, F numbers of a teacher's
feature (of a video F frames, H x W pixels), D of an embedding, K keys.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import Row, in_turns, machine, matrix_ceiling, seconds, show
from comodo.config import ComodoMethod, TrialConfig
from comodo.core.store import Store, write_json
from comodo.data.arrays import FeatureArrays, Split, WindowArrays
from comodo.data.packing import pack_resized
from comodo.models.students import build_student
from comodo.training.distill import Distillation
from comodo.training.loader import Batch
from comodo.training.schedule import learning_rate

STUDENT = {"name": "mantis"}  # from scratch, by default of Mantis-8M's size
WINDOWS, FEATURES = "w", "f"  # keys of the packed arrays
CHANNELS, SAMPLES, RESIZED, TEACHER_FEATURE, CLASSES = 6, 1000, 512, 768, 8
VIDEO_SECONDS, VIDEO_FPS, VIDEO_SIZE, FRAMES = 5, 30, (456, 256), 8
GOALS = {"cpu": {"float32": 1.25, "bf16": 3.0}, "cuda": {"float32": 2.5, "bf16": 8.0}}


def make_arrays(store: Store, windows: int, val: int) -> None:
    """Random windows and features, packed and resized: `windows` for training, `val` each for
    validation and test."""
    rng = np.random.default_rng(0)
    time_T = np.arange(SAMPLES) / 200
    files = {split: [f"{split}-00000.safetensors"] for split in ("train", "val", "test")}
    for split, (file,) in files.items():
        count = windows if split == "train" else val
        hertz_NC1, phase_NC1, level_NC1 = rng.uniform(0.3, 6, (3, count, CHANNELS, 1))
        wave_NCT = np.sin(2 * np.pi * hertz_NC1 * time_T + phase_NC1) + level_NC1 / 6
        arrays = {
            "imu": (wave_NCT + rng.normal(0, 0.3, wave_NCT.shape)).astype(np.float32),
            "length": np.full(count, SAMPLES),
            "label": np.arange(count) % CLASSES,
            "group": np.arange(count) % 20,
            "last": np.zeros(count, bool),
        }
        features = {
            "feature": rng.standard_normal((count, TEACHER_FEATURE), dtype=np.float32),
            "encoded": np.ones(count, bool),
        }
        for key, content in ((WINDOWS, arrays), (FEATURES, features)):
            folder = store.folder("arrays", key)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(content, folder / file)
    names = {"classes": [f"c{k}" for k in range(CLASSES)], "groups": [f"g{k}" for k in range(20)]}
    about = names | {"uniform": True, "files": files}
    write_json(store.folder("arrays", WINDOWS) / "meta.json", about)
    write_json(
        store.folder("arrays", FEATURES) / "meta.json", {"dim": TEACHER_FEATURE, "files": files}
    )
    pack_resized(store, WINDOWS, RESIZED)


def write_video(path: Path) -> None:
    """A short H.264 file, with a key frame every second."""
    import av

    width, height = VIDEO_SIZE
    rng = np.random.default_rng(0)
    wide_HW3 = rng.integers(0, 255, (height // 16, width // 8, 3), np.uint8)
    wide_HW3 = wide_HW3.repeat(16, axis=0).repeat(16, axis=1)  # blocks, twice as wide as the video
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=VIDEO_FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = VIDEO_FPS
        for number in range(VIDEO_SECONDS * VIDEO_FPS):
            picture_HW3 = np.ascontiguousarray(wide_HW3[:, 3 * number :][:, :width])
            frame = av.VideoFrame.from_ndarray(picture_HW3, "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class FilmedWindows(Dataset[tuple[Tensor, ...]]):
    """Windows with the frames of their videos; each access opens the video again."""

    def __init__(self, imu_NCT: Tensor, video: Path) -> None:
        self.imu_NCT, self.video = imu_NCT, video

    def __len__(self) -> int:
        return len(self.imu_NCT)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        from comodo.data.video import decode_frames  # the only part that needs PyAV

        frames_FHW3 = decode_frames(self.video, 0, VIDEO_SECONDS, FRAMES)
        return self.imu_NCT[index], torch.from_numpy(frames_FHW3)


class Published:
    """The published training procedure, starting from the weights of one of our runs."""

    def __init__(
        self, run: Distillation, windows: WindowArrays, features: FeatureArrays, video: Path | None
    ) -> None:
        assert isinstance(run.method, ComodoMethod) and run.queue is not None
        self.method, self.device, batch = run.method, run.device, run.trial.batch_size
        # Only weights and settings are ours: the network is the library's, with its own forward.
        self.network = copy.deepcopy(run.student.encoder.network)
        self.head, self.teacher_head = copy.deepcopy((run.head, run.teacher_head))
        self.queue_QD = run.queue.ordered()
        self.parameters = [*self.network.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=run.trial.learning_rate, weight_decay=run.trial.weight_decay
        )
        self.schedule = LambdaLR(
            self.optimizer,
            lambda step: learning_rate(step, run.schedule.planned, run.trial.warmup, 1),
        )
        self.train_imu_NCT, val_imu_NCT = (
            in_memory(windows.splits[split]) for split in ("train", "val")
        )
        self.feature_NF = features.gather("train", torch.arange(len(self.train_imu_NCT)))
        train = TensorDataset(self.train_imu_NCT, self.feature_NF)
        val: Dataset[tuple[Tensor, ...]] = TensorDataset(val_imu_NCT)
        if video is not None:
            val = FilmedWindows(val_imu_NCT, video)
        self.train_loader = DataLoader(train, batch, shuffle=True)
        self.val_loader = DataLoader(val, batch)

    def embed(self, imu_BCT: Tensor) -> Tensor:
        features = []
        for imu_B1T in imu_BCT.to(self.device).split(1, dim=1):
            resized_B1T = functional.interpolate(imu_B1T, RESIZED, mode="linear")
            features.append(self.network(resized_B1T))
        return functional.normalize(self.head(torch.cat(features, dim=1)), dim=1)

    def loss(self, imu_BCT: Tensor, feature_BF: Tensor) -> Tensor:
        student_BD = self.embed(imu_BCT)
        with torch.no_grad():
            teacher_BD = self.teacher_head(feature_BF.to(self.device))
            teacher_BD = functional.normalize(teacher_BD, dim=1)
        key_KD = torch.cat([self.queue_QD, teacher_BD])
        teacher_BK = (teacher_BD @ key_KD.T / self.method.teacher_temperature).softmax(dim=1)
        student_BK = (student_BD @ key_KD.T / self.method.student_temperature).log_softmax(dim=1)
        self.queue_QD = key_KD[len(teacher_BD) :].clone()
        return -(teacher_BK * student_BK).sum(dim=1).mean()

    def train_epoch(self) -> float:
        """Returns the mean loss."""
        self.network.train()
        self.head.train()
        losses = []
        for imu_BCT, feature_BF in self.train_loader:
            loss = self.loss(imu_BCT, feature_BF)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    @torch.no_grad()
    def validate(self) -> None:
        self.network.eval()
        self.head.eval()
        for imu_BCT, *_frames in self.val_loader:
            self.embed(imu_BCT)


def in_memory(split: Split) -> Tensor:
    """All windows of a split, at their original rate."""
    return split.packed(torch.arange(len(split)))[0]


def begin(store: Store, args: argparse.Namespace, precision: str) -> Distillation:
    """One of our runs; it starts from the same weights at every precision."""
    config = TrialConfig.model_validate(
        {
            "dataset": "random",
            "teacher": "timesformer-base-k400",
            "student": STUDENT,
            "method": {
                "name": "comodo",
                "queue_size": min(1024, args.windows),
                "hold_out_queue": False,
            },
            "batch_size": args.batch,
            "epochs": args.repeats + 1,
            "precision": precision,
        }
    )
    windows = WindowArrays.load(store.folder("arrays", WINDOWS), RESIZED)
    features = FeatureArrays.load(store.folder("arrays", FEATURES))
    torch.manual_seed(0)
    return Distillation(config, 0, windows, features, build_student(config.student), args.device)


def first_windows(
    ours: Distillation, theirs: Published, count: int
) -> tuple[Batch, tuple[Tensor, Tensor]]:
    """The same training windows as either side takes them."""
    index_B = torch.arange(count)
    batch = next(ours.loader.read(ours.row_N[index_B], count, 1))
    return batch, (theirs.train_imu_NCT[index_B], theirs.feature_NF[index_B])


def one_step(ours: Distillation, theirs: Published) -> tuple[float, float]:
    """Relative differences of the loss, and of the gradient of the parameter whose gradients are
    furthest apart. Dropout is off, and batch normalisation as in evaluation: in training the biases
    before it have no gradient but rounding."""
    for module in (ours.student, ours.head, theirs.network, theirs.head):
        module.eval()
    mine, its = first_windows(ours, theirs, ours.trial.batch_size)
    loss = ours.loss(mine)
    loss.backward()
    their_loss = theirs.loss(*its)
    their_loss.backward()
    apart = [
        float((one.grad - other.grad).norm() / other.grad.norm())
        for one, other in zip(ours.parameters, theirs.parameters, strict=True)
        if one.grad is not None and other.grad is not None
    ]
    return abs(loss.item() / their_loss.item() - 1), max(apart)


def flop_of_a_window(ours: Distillation, theirs: Published) -> tuple[float, float]:
    """FLOP of a training step for each window, forward and backward, of both sides."""
    mine, its = first_windows(ours, theirs, 8)  # of any size: it grows with the batch
    counts = []
    for loss in (lambda: ours.loss(mine), lambda: theirs.loss(*its)):
        with FlopCounterMode(display=False) as counter:
            loss().backward()
        counts.append(counter.get_total_flops() / mine.size)
    return counts[0], counts[1]


def allow_tf32(allowed: bool) -> None:
    """As a trial does; PyTorch's own default allows it in convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=256, help="to train on")
    parser.add_argument("--val", type=int, default=64, help="windows to validate on")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    precisions = ["float32", *(["tf32"] if args.device == "cuda" else []), "bf16"]
    with_video = find_spec("av") is not None
    print(machine(args.device, "mantis-tsfm", *(["av"] if with_video else [])))
    print(
        f"Mantis-8M's size, batch {args.batch}, {args.windows} windows of {CHANNELS} x {SAMPLES:,} "
        f"samples to train, {args.val} to validate; medians of {args.repeats} turns"
    )
    allow_tf32(False)
    with tempfile.TemporaryDirectory() as folder:
        store, video = Store(folder), Path(folder) / "video.mp4"
        make_arrays(store, args.windows, args.val)
        if with_video:
            write_video(video)
        else:
            print("no PyAV here: the baseline's validation opens no video")
        runs = {precision: begin(store, args, precision) for precision in precisions}
        packed = WindowArrays.load(store.folder("arrays", WINDOWS))
        features = FeatureArrays.load(store.folder("arrays", FEATURES))
        published = Published(runs["float32"], packed, features, video if with_video else None)
        loss_apart, gradient_apart = one_step(runs["float32"], published)
        flop, published_flop = flop_of_a_window(runs["float32"], published)
        print(f"one step of both, float32: loss {loss_apart:.0e} apart, gradients at most ", end="")
        print(f"{gradient_apart:.0e}, relative; GFLOP for a window: published ", end="")
        print(f"{published_flop / 1e9:.2f}, ours {flop / 1e9:.2f}", end="\n\n")
        took = in_turns(args.repeats, parts(args.device, published, runs))
    report(args, took, flop, with_video)


def parts(
    device: str, published: Published, runs: dict[str, Distillation]
) -> dict[str, Callable[[], float]]:
    """What to time, by side and part of the epoch."""

    def timed(call: Callable[[], object], precision: str) -> Callable[[], float]:
        def measure() -> float:
            allow_tf32(precision == "tf32")
            return seconds(call, device)

        return measure

    sides = {
        "published training": timed(published.train_epoch, "float32"),
        "published validation": timed(published.validate, "float32"),
    }
    for precision, run in runs.items():
        sides[f"{precision} training"] = timed(run.train_epoch, precision)
        sides[f"{precision} validation"] = timed(run.epoch_accuracy, precision)
    return sides


def report(args: argparse.Namespace, took: dict[str, float], flop: float, with_video: bool) -> None:
    """Prints the seconds of each side and a row for each precision."""
    training, validation = took.pop("published training"), took.pop("published validation")
    where = f"{torch.get_num_threads()} threads" if args.device == "cpu" else "one GPU"
    videos = "videos decoded" if with_video else "without videos"
    print("epoch's seconds | training | validation | GFLOP/s of training | of a large product's")
    print(f"published, float32 | {training:.2f} | {validation:.2f} ({videos}) | |")
    for precision in (name.split()[0] for name in took if name.endswith("training")):
        trained, checked = took[f"{precision} training"], took[f"{precision} validation"]
        allow_tf32(precision == "tf32")
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        achieved, ceiling = flop * args.windows / trained, matrix_ceiling(args.device, dtype)
        print(
            f"ours, {precision} | {trained:.2f} | {checked:.2f} | {achieved / 1e9:,.0f} | ", end=""
        )
        print(f"{achieved / ceiling:.0%} of {ceiling / 1e9:,.0f}", flush=True)
        goal = GOALS[args.device].get(precision)
        show(
            Row(
                f"epoch of a trial after encoding: Mantis-8M's size, batch {args.batch}, "
                f"{args.windows} + {args.val} windows of {CHANNELS} x {SAMPLES:,} samples, "
                f"{precision}, {where}",
                f"published way in float32, {videos}: {training:.2f} + {validation:.2f} s",
                f"{trained:.2f} + {checked:.2f} s",
                f"{(training + validation) / (trained + checked):.2f} "
                f"(training alone {training / trained:.2f})",
                f"{'none' if goal is None else f'{goal:g}'}; "
                f"training at {achieved / ceiling:.0%} of a large matrix product's FLOP/s",
            )
        )


if __name__ == "__main__":
    main()
