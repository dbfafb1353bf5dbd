"""What a validator may take, and why not more."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one file's judgement by one validator.

    Attributes:
        wall: seconds from the fork. A minute reads 10 GB from a disk; a validator that hangs keeps a worker so long.
        cpu: seconds of processor time, for what is busy all the time.
        memory: bytes that a child may map beyond what the fork server had and the file's own size. Readers of
            columns need a few row groups; two workers at once stay well below a pod's limit of 1.5 GiB.
        open_files: descriptors; libraries need about 10.
        file_size: bytes of one file written into the scratch folder.
        written: bytes written in all, looked at ten times a second, so that a fast disk can take a little more.
        scratch_files: entries of the scratch folder, looked at as often.
        output: bytes printed. What is printed is thrown away; who prints more than this is broken.
        answer: bytes of the answer.
    """

    wall: float = 60.0
    cpu: int = 30
    memory: int = 512 * MIB
    open_files: int = 32
    file_size: int = 64 * MIB
    written: int = 256 * MIB
    scratch_files: int = 1000
    output: int = MIB
    answer: int = 16 * 1024

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"the sandbox's limit {name} is {getattr(self, name)}: it has to be above 0")
