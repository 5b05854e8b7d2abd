"""Classes by their texts, against a plain formulation."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from comodo.data.prompts import load_prompts, save_prompts
from comodo.evaluation.measures.zero_shot_text import measure_zero_shot_text
from tests.evaluation.measures.frozen import embeddings, frozen_of


def test_the_class_is_that_of_the_most_similar_text(tmp_path: Path) -> None:
    frozen = frozen_of(tmp_path)
    assert frozen.teacher is not None and frozen.teacher.texts is not None
    prompts, _ = load_prompts(frozen.teacher.texts)
    classes = frozen.windows.classes
    assert prompts == [f"doing {name}" for name in classes]
    student_ND = np.concatenate([embeddings(frozen, split)[0] for split in ("val", "test")])
    apart_ND = student_ND - student_ND.mean(axis=0)  # or one class would be predicted of all
    text_KD = nn.functional.normalize(torch.from_numpy(apart_ND[: len(classes)]))
    save_prompts(frozen.teacher.texts, prompts, text_KD)
    measured = measure_zero_shot_text(frozen)
    assert measured.predictions is not None
    rows = measured.predictions.to_pandas()
    for split in ("val", "test"):
        imu_ND, _ = embeddings(frozen, split)
        label_N = [classes[i] for i in frozen.windows.splits[split].label_N]
        predicted = []
        for imu_D in imu_ND:
            cosines = [float(imu_D @ text_D) for text_D in text_KD.numpy()]
            predicted.append(classes[int(np.argmax(cosines))])
        of_split = rows[rows.split == split]
        assert of_split.predicted.tolist() == predicted and of_split.label.tolist() == label_N
        assert len(set(predicted)) > 1
        accuracy = np.mean([p == y for p, y in zip(predicted, label_N, strict=True)])
        assert measured.metrics[f"{split}/zero_shot_text/acc1"] == accuracy
        assert f"{split}/zero_shot_text/macro_f1" in measured.metrics
