"""Each module has its test file in the mirrored place, and each test file its module."""

from pathlib import Path

from tests.paths import ROOT

COVERED_BY = {
    "__main__": "e2e/test_smoke.py",
    "cli/arguments": "test_cli.py",
    "cli/init": "test_cli.py",
    "cli/slurm": "runtime/test_slurm.py",
    "cli/store": "report/test_usage.py",
    "cli/student": "test_cli.py",
    "cli/ui": "test_cli.py",
    "config/dataset_base": "config/test_load.py",
    "config/seen_channels": "config/test_channels.py",
    "config/own_code": "models/test_own.py",
    "config/shared_space": "config/test_measuring.py",
    "config/video_teachers": "models/test_video_teachers.py",
    "data/prompts": "evaluation/measures/test_zero_shot_text.py",
    "models/pooling": "models/test_video_teachers.py",
    "report/plan/teachers": "report/plan/test_plan.py",
    "config/terms": "config/test_methods.py",
    "config/short_forms": "config/test_space.py",
    "config/libraries": "search/test_precheck.py",
    "config/resources": "config/test_sweep.py",
    "core/disk": "core/test_store.py",
    "core/json_record": "core/test_store.py",
    "core/labels": "data/test_arrays.py",
    "core/lazy": "test_imports.py",
    "core/parts": "core/test_store.py",
    "core/settings": "config/test_base.py",
    "core/versions": "test_example_stores.py",
    "data/packing": "data/test_arrays.py",
    "data/records": "data/test_arrays.py",
    "data/shards": "data/test_arrays.py",
    "data/simulation/scenery": "data/simulation/test_simulator.py",
    "data/readers/manifest": "data/readers/test_folder.py",
    "data/tables/samples": "data/test_imu_tables.py",
    "deploy/card": "deploy/test_export.py",
    "deploy/programs": "deploy/test_export.py",
    "deploy/recogniser": "deploy/test_export.py",
    "evaluation/classification": "evaluation/measures/test_probe.py",
    "evaluation/fitted_probe": "evaluation/measures/test_probe.py",
    "evaluation/labelled_features": "evaluation/test_feature_metrics.py",
    "evaluation/measured": "evaluation/measures/test_few_shot.py",
    "evaluation/measures/classifier": "runtime/test_worker.py",
    "evaluation/measures/direct": "runtime/test_worker.py",
    "evaluation/measures/knn": "runtime/test_worker.py",
    "evaluation/measures/linear": "runtime/test_worker.py",
    "evaluation/measures/zero_shot": "runtime/test_worker.py",
    "evaluation/pareto": "evaluation/test_results.py",
    "evaluation/shared_space": "evaluation/measures/test_retrieval.py",
    "losses/comodo": "losses/test_loss.py",
    "losses/cross_entropy": "losses/test_loss.py",
    "losses/infonce": "losses/test_loss.py",
    "losses/l2": "losses/test_loss.py",
    "losses/relational": "losses/test_loss.py",
    "losses/siglip": "losses/test_loss.py",
    "losses/supervised": "training/test_terms.py",
    "losses/vicreg": "losses/test_loss.py",
    "models/efficientnet": "models/test_teachers.py",
    "models/image_teacher": "models/test_teachers.py",
    "models/timesformer": "models/test_teachers.py",
    "models/videomae": "models/test_teachers.py",
    "models/vjepa2": "models/test_teachers.py",
    "models/chronos": "models/test_encoders.py",
    "models/heads": "models/test_students.py",
    "models/mantis": "models/test_encoders.py",
    "models/moment": "models/test_encoders.py",
    "models/preprocessing": "deploy/test_export.py",
    "report/accuracy": "report/test_report.py",
    "report/figures": "report/test_report.py",
    "report/head": "report/test_answer.py",
    "report/page": "report/test_report.py",
    "report/plan/estimates": "report/plan/test_plan.py",
    "report/plan/inventory": "report/plan/test_plan.py",
    "report/plan/machine": "report/plan/test_plan.py",
    "report/plan/starts": "report/test_starts.py",
    "report/plan/splits": "report/plan/test_plan.py",
    "report/plan/view": "report/plan/test_plan.py",
    "report/quality/figures": "report/quality/test_inspection.py",
    "report/selection": "evaluation/test_nested.py",
    "report/status_view": "search/test_status.py",
    "report/tables": "report/test_report.py",
    "runtime/decode": "runtime/test_encode.py",
    "runtime/notice": "chaos/test_small.py",
    "runtime/progress": "runtime/test_callbacks.py",
    "runtime/rendezvous": "runtime/test_cluster.py",
    "runtime/run": "e2e/test_sweep.py",
    "runtime/tiny_teachers": "runtime/test_smoke.py",
    "runtime/trainable": "runtime/test_tune.py",
    "search/recorded_settings": "evaluation/test_sweep_record.py",
    "search/history": "search/test_trial.py",
    "training/optimizer": "training/test_terms.py",
    "training/peaks": "runtime/test_worker.py",
    "training/train_rows": "training/test_terms.py",
    "tracking/comodo_served": "deploy/test_export.py",
    "tracking/record_queue": "tracking/test_tracker.py",
    "tracking/registry": "deploy/test_export.py",
    "tracking/runs": "tracking/test_tracker.py",
}
"""Modules without a test file of their own, and the one that tests them."""

CROSS_CUTTING = {
    "runtime/test_ray_unchanged",
    "runtime/test_tune_rounds",
    "test_benchmarks",
    "test_cli",
    "test_cluster_files",
    "test_docs",
    "test_example_stores",
    "test_fuzz",
    "test_imports",
    "test_layout",
    "test_protocol",
    "test_schema",
    "test_security",
    "test_spot_notice",
    "test_sweeps",
    "training/test_terms",
}
"""Test files about several modules or packages, or about files next to the package."""

NOT_MIRRORED = ("chaos", "e2e", "scripts")
"""Folders with tests of whole sweeps, and of files next to the package."""


def modules() -> set[str]:
    package = ROOT / "comodo"
    names = {path.relative_to(package).with_suffix("") for path in package.rglob("*.py")}
    return {str(name) for name in names if name.name != "__init__"}


def mirrored(module: str) -> Path:
    """Where the test file of a module is."""
    place = ROOT / "tests" / module
    return place.with_name(f"test_{place.name}.py")


def test_every_module_has_a_test_file_or_an_entry() -> None:
    without = {module for module in modules() if not mirrored(module).exists()}
    assert without == COVERED_BY.keys()


def test_entries_name_test_files_that_exist() -> None:
    absent = {file for file in COVERED_BY.values() if not (ROOT / "tests" / file).exists()}
    assert not absent


def test_every_test_file_has_a_module_or_is_cross_cutting() -> None:
    folder = ROOT / "tests"
    files = {path.relative_to(folder) for path in folder.rglob("test_*.py")}
    homeless = {
        str(file)
        for file in files
        if file.parts[0] not in NOT_MIRRORED
        and str(file.parent / file.stem.removeprefix("test_")) not in modules()
        and str(file.with_suffix("")) not in CROSS_CUTTING
    }
    assert not homeless
    assert {str(file.with_suffix("")) for file in files} >= CROSS_CUTTING
