"""Where the pipeline's boxes go."""

from alignkit.report.diagram import HEIGHT, WIDTH, lay_out

READS = {
    "sft": [],
    "reward": ["sft"],
    "dpo": ["sft"],
    "ppo": ["sft", "reward"],
    "compare": ["sft", "dpo", "ppo"],
}


def test_every_stage_stands_right_of_what_it_reads():
    place = {box.name: box for box in lay_out(READS).boxes}
    assert set(place) == set(READS)
    for name, reads in READS.items():
        assert all(place[other].x + WIDTH < place[name].x for other in reads)


def test_boxes_do_not_overlap_and_lie_inside(rng):
    for _ in range(50):
        names = [f"s{number}" for number in range(rng.randint(1, 12))]
        found = lay_out(
            {
                name: [other for other in names[:number] if rng.random() < 0.3]
                for number, name in enumerate(names)
            }
        )
        for number, box in enumerate(found.boxes):
            assert 0 <= box.x <= found.width - WIDTH
            assert 0 <= box.y <= found.height - HEIGHT
            assert not [
                b for b in found.boxes[:number] if abs(b.x - box.x) < WIDTH and abs(b.y - box.y) < HEIGHT
            ]


def test_an_arrow_that_follows_from_others_is_left_out():
    # sft → reward, sft → dpo, reward → ppo, dpo → compare, ppo → compare; sft → ppo and sft → compare follow
    # from them.
    assert len(lay_out(READS).arrows) == 5


def test_an_arrow_over_a_column_passes_between_its_boxes():
    # dpo is in the second column, compare in the fourth: ppo's column has to be crossed.
    found = lay_out(READS)
    ppo = next(box for box in found.boxes if box.name == "ppo")
    crossing = [path for path in found.arrows if path.count("C") == 3]
    assert len(crossing) == 1
    height = float(crossing[0].split("C")[1].split()[-1])
    assert not ppo.y < height < ppo.y + HEIGHT
