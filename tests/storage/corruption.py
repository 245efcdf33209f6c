"""Damage to one step of the checkpoints."""

import json
import shutil


def payload(step):
    """Returns the largest file of array data of a step."""
    return max((step / "variables").glob("ocdbt.process_*/d/*"), key=lambda p: p.stat().st_size)


def flip(step):
    file = payload(step)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)


def truncate(step):
    file = payload(step)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(step):
    shutil.rmtree(step)
    step.mkdir()


def wrong_seal(step):
    (seal,) = (step / "seal").glob("metadata")
    values = json.loads(seal.read_text())
    seal.write_text(json.dumps({**values, "optimizer": "0" * 16}))


# Kind of damage -> function that does it to the folder of a step.
DAMAGE = {
    "a flipped byte": flip,
    "a truncated file": truncate,
    "a deleted file": lambda step: payload(step).unlink(),
    "an empty step": empty,
    "no optimizer": lambda step: shutil.rmtree(step / "optimizer"),
    "no seal": lambda step: shutil.rmtree(step / "seal"),
    "a wrong seal": wrong_seal,
}
