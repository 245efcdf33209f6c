"""The part that finds the accelerator, checks it, and measures on it."""

from benchmarks.rented import check, machine
from benchmarks.rented.measure import Measurement
from benchmarks.rented.notes import Notes
from benchmarks.rented.part import Part
from benchmarks.rented.rows import Settings
from softshare_jax.errors import RunError, UserError, one_line
from softshare_jax.shell import cli, devices, environment


def main() -> None:
    """Finds, checks and measures. What the notes have of this machine and row is not done again.

    Raises:
        UserError: there is no accelerator, and this is no smoke run.
        RunError: the accelerator computes something else than the CPU, or fails.
    """
    part = Part.parse(__doc__)
    devices.check()
    found = machine.find()
    print(f"found {machine.line(found)}", flush=True)
    if found["platform"] == "cpu" and not part.row.smoke:
        there = " for the one of this machine" if environment.has_gpu() or environment.has_tpu() else ""
        raise UserError(f"jax has no accelerator{there}: pip install '.[cuda]' or '.[tpu]', or add --smoke")
    notes = part.read()
    # The memory that is free at the start differs a little each time.
    row = {"row": part.row.variant, "smoke": part.row.smoke, "dtype": part.dtype}
    asked = {**row, **found, "memory_bytes": None}
    if "chosen" in notes and notes.get("asked") == asked:
        print(f"checked and measured before: {Settings.of(notes['chosen'])}", flush=True)
        return
    notes.clear()
    notes["found"], notes["asked"] = found, asked
    _check(notes)
    measurement = Measurement(part.row, notes, part.until)
    chosen = measurement.choose(part.dtype)
    if chosen is None:
        return
    settings = Settings.of(chosen)
    print(f"chosen: {settings}", flush=True)
    notes["shared_over_unshared"] = measurement.compare(settings)
    notes["chosen"] = chosen


def _check(notes: Notes) -> None:
    print("checking some training steps against the CPU's", flush=True)
    try:
        notes["check"] = checked = check.check()
    except UserError:
        raise
    except Exception as error:  # of a broken driver, for example
        raise RunError(f"the check did not end: {one_line(error)}") from error
    if not checked["passed"]:
        raise RunError(check.line(checked))
    print(check.line(checked), flush=True)


if __name__ == "__main__":
    cli.run(main)
