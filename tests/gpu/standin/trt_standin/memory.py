"""Device memory that TensorRT takes for itself: given back only while its CUDA context is current, lost otherwise."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from trt_standin import driver
from trt_standin.logger import Voice
from trt_standin.reporting import age, count, leak


@dataclass
class Block:
    """One allocation of the software driver."""

    address: int
    nbytes: int
    what: str
    context: int
    born: int
    """The age of the counts it was taken in."""

    def free(self) -> None:
        """Give it back; a leak where the context it belongs to is not the thread's current one."""
        if sys.is_finalizing() or self.born != age():
            return
        if driver.current() != self.context:
            leak(f"{self.what}: {self.nbytes} bytes, freed without their CUDA context being current")
            return
        error = driver.free(self.address)
        if error:
            leak(f"{self.what}: {self.nbytes} bytes ({driver.text(error)})")
            return
        count("memory", -self.nbytes, born=self.born)


def take(nbytes: int, what: str, voice: Voice) -> Block | None:
    """`nbytes` of device memory, or None with the reason in the log."""
    context = driver.current()
    if not context:
        voice.error(f"Error Code 1: Cuda Runtime ({driver.text(201)})")
        return None
    error, address = driver.allocate(nbytes)
    if error:
        kind = "OutOfMemory" if error == 2 else "Cuda Runtime"
        voice.error(f"Error Code 2: {kind} (Requested size was {nbytes} bytes for {what}. {driver.text(error)})")
        return None
    count("memory", nbytes)
    return Block(address, nbytes, what, context, age())
