"""Names beside points that can be read."""

from matplotlib.backends.backend_agg import FigureCanvasAgg

from alignkit.report.figures import new_panel
from alignkit.report.labels import Cross, label_points


def test_names_of_points_close_together_do_not_cover_each_other():
    figure, panel = new_panel(4.6, 3.5)
    points = {
        f"policy-{n}": Cross(2 + n / 40, 0.5 + n % 3 / 50, 1.9 + n / 40, 2.1 + n / 40, 0.4, 0.6)
        for n in range(5)
    }
    panel.set(xlim=(1.5, 2.6), ylim=(0.2, 0.8))
    label_points(panel, points)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in panel.texts}
    assert set(boxes) == set(points)
    assert not [(a, b) for a in boxes for b in boxes if a < b and boxes[a].overlaps(boxes[b])]
