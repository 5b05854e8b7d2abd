"""What figures share: wrapped names, sizes of a page and of a paper, axes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comodo.report import style


@given(st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" +,/")),
       st.integers(1, 30))  # fmt: skip
def test_wrapping_cuts_nothing(text: str, most: int) -> None:
    lines = style.wrapped(text, most).split("\n")
    assert all(len(line) <= most for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_lines_end_between_channels() -> None:
    name = "left_wrist.acc_xyz+left_wrist.gyro_xyz+head.acc_x"
    assert style.wrapped(name, 22).split("\n") == [
        "left_wrist.acc_xyz+",
        "left_wrist.gyro_xyz+",
        "head.acc_x",
    ]


def test_a_paper_has_its_own_sizes_until_the_end_of_the_block() -> None:
    page, _ = style.axes_of(7, 4)
    assert tuple(page.get_size_inches()) == (7, 4) and not style.is_on_paper()
    with pytest.raises(ZeroDivisionError), style.on_paper(3.5):
        narrow, axes = style.axes_of(7, 4, xlabel="epoch")
        assert tuple(narrow.get_size_inches()) == pytest.approx((3.5, 3.2))
        assert axes.xaxis.label.get_fontsize() == pytest.approx(8)
        assert style.letters(style.width_of(7)) < 80
        raise ZeroDivisionError
    assert style.width_of(7) == 7 and style.scale() == 1


def test_crowded_labels_are_turned() -> None:
    _, (axes, _) = style.grid_of(2, 2, (7, 3))
    assert style.turned_if_crowded(axes, ["a", "b"]) == {}
    assert style.turned_if_crowded(axes, ["a long name", "b"] * 3)["rotation"] == 45


def test_a_legend_makes_its_figure_higher() -> None:
    heights = []
    for count in (1, 9):
        figure, axes = style.axes_of(7, 4)
        for number in range(count):
            axes.plot([0, 1], [0, 1], label=f"{number} {'name ' * 20}", **style.of_curve(number))
        style.legend_below(figure, axes)
        heights.append(figure.get_figheight())
        first = figure.legends[0].get_texts()[0].get_text()
        assert first.replace("\n", " ").startswith("0 name name") and "…" not in first
    assert heights[0] == 4 < heights[1]
