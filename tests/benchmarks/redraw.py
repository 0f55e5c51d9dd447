"""The explorer's redraw beside `interact`: its own benchmark, as rows of this table."""

import explorer
from measure import Row


def rows(quick):
    explorer.MOVES = 3 if quick else 15
    explorer.BURST = 3 if quick else explorer.BURST
    local, slow, _ = explorer.measured(with_flicker=False)
    for place, found, floor in ("no delay", local, 3), ("150 ms, 20 Mbit/s", slow, 1.8):
        ours, theirs = found["explorer"], found["interact"]
        yield Row(
            part="explorer, key to picture",
            case=f"median of {explorer.MOVES} moves, {place}",
            ours=[ours[0] / 1000],
            peer="interact",
            theirs=[theirs[0] / 1000],
            floor=floor,
            aim=floor,
            note=f"95 percent below {ours[1]:.0f} ms, theirs {theirs[1]:.0f} ms; "
            f"{ours[2]:.0f} kB a move, theirs {theirs[2]:.0f}",
        )
