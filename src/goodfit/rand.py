"""Random numbers as a function, not a state.

    z = Philox4x32-10(key = hash(seed, name), counter = (index, epoch, draw))

Every draw is a function of the seed, the ingredient's name, the epoch and the sample's index. So
a sample gets the same draw whatever the batch size, the order, the number of workers or devices
or the point of resumption; and removing one ingredient leaves all other draws as they were.

Whole batches are drawn at once where `index` lies: on the CPU in numpy's unsigned integers,
elsewhere in torch's signed ones, with the same bits. The numbers are then sent to where the images
are. An index on the CPU is best for images on a GPU, too: the rounds of Philox are a hundred small
operations, which the CPU does in a twentieth of the time that starting them on a GPU takes.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

>>> from goodfit.batch import Batch
>>> batch = Batch(torch.zeros(2, 3, 4, 4), torch.eye(2), torch.tensor([7, 9]))
>>> a, b = Rng(0, "flip", batch).uniform(), Rng(0, "flip", batch).uniform()
>>> bool((a == b).all())
True
"""

from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_M0, _M1 = 0xD2511F53, 0xCD9E8D57  # Philox's multipliers
_W0, _W1 = 0x9E3779B9, 0xBB67AE85  # and its key schedule
_LOW = 0xFFFFFFFF
_ROUNDS = 10
_HALF = np.uint64(32)
_MANY = 256  # words per sample, from which they are drawn where they are needed, not sent
_GAMMA_TRIES = 8  # Marsaglia and Tsang accept with > 0.95, so all fail with < 1e-10


class Indexed(Protocol):
    """What Rng needs of a batch."""

    @property
    def index(self) -> Tensor: ...
    @property
    def epoch(self) -> int: ...


@lru_cache(maxsize=1024)
def key_of(seed: int, name: str) -> tuple[int, int]:
    """The generator's two key words, well mixed from a seed and a name."""
    digest = blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Philox4x32-10 of int64 `counter` (4, m), whose values are below 2**32, on any device."""
    if counter.device.type == "cpu":
        state = counter.numpy().astype(np.uint64)
        return torch.from_numpy(_philox_cpu(state[0::2], state[1::2], key).view(np.int64))
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _M0, c2 * _M1  # wraps modulo 2**64, which keeps all bits
        c0, c1 = ((p1 >> 32) & _LOW) ^ c1 ^ k0, p1 & _LOW
        c2, c3 = ((p0 >> 32) & _LOW) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return torch.stack([c0, c1, c2, c3])


@lru_cache(maxsize=1024)
def _constants(key: tuple[int, int]) -> np.ndarray:
    """Each round's keys, then the factors of even and odd rounds, as _philox_cpu lays them out."""
    pairs = [((key[0] + t * _W0) & _LOW, (key[1] + t * _W1) & _LOW) for t in range(_ROUNDS)]
    laid = [pair[::-1] if t % 2 == 0 else pair for t, pair in enumerate(pairs)]
    return np.array([*laid, (_M0, _M1), (_M1, _M0)], np.uint64)


@lru_cache(maxsize=16)  # a recipe's draws; each holds 192 bytes per counter
def _spread(keys: tuple[tuple[int, int], ...], each: int) -> np.ndarray:
    """The constants of several keys (12, 2 keys each), each key's for its part of the counters."""
    of_keys = np.stack([_constants(key) for key in keys], axis=2)  # (12, 2, keys)
    return np.repeat(of_keys.reshape(len(of_keys), -1), each, axis=1)


def _philox_cpu(even: np.ndarray, odd: np.ndarray, *keys: tuple[int, int]) -> np.ndarray:
    """The same in numpy, on words 0 and 2 and words 1 and 3 of the counters, each (2, m) uint64.

    Each of several keys is used for its part of the counters; the parts are equally long.

    Batches are small, so what counts is the number of calls and that arrays are contiguous: both
    multiplications of a round are one operation, the two halves change places in every round
    instead of being crossed, and the odd half is kept with its first row repeated at its end, so
    that its other order is a slice.
    """
    m = even.shape[1]
    constants = _spread(keys, m // max(1, len(keys)))
    kept = np.concatenate([odd.ravel(), odd[0]])
    this, crossed, start, end = kept[: 2 * m], kept[m:], kept[:m], kept[2 * m :]
    even = even.ravel()
    product = np.empty_like(even)
    low = np.full(1, _LOW, np.uint64)
    for t in range(_ROUNDS):
        np.multiply(even, constants[_ROUNDS + t % 2], out=product)
        np.right_shift(product, _HALF, out=even)
        np.bitwise_xor(even, crossed, out=even)
        np.bitwise_xor(even, constants[t], out=even)
        np.bitwise_and(product, low, out=this)
        end[:] = start
    result = np.empty((4, m), np.uint64)
    result[0::2], result[1::2] = even.reshape(2, m), this.reshape(2, m)
    return result


Words = Any  # (words, n) int64, a numpy array on the CPU and a tensor elsewhere


class Rng:
    """Draws for the samples of one batch and one ingredient.

    Successive calls on the same object give independent draws; a new object with the same
    arguments gives the same ones again. All results have one row per sample and lie where the
    batch's images lie; where it has none, where its index does.
    """

    def __init__(self, seed: int, name: str, batch: Indexed) -> None:
        self.index, self.epoch = batch.index, batch.epoch
        self.device = getattr(batch, "images", batch.index).device
        self._key = key_of(seed, name)
        self._block = 0
        self._spare: Words = None  # (words, n): drawn and not used yet

    def every_epoch(self) -> "Rng":
        """Draws that are the same in every epoch, for what a sample keeps for good."""
        same = copy(self)
        same.epoch, same._block, same._spare = 0, 0, None
        return same

    def words(self, count: int) -> Int[Tensor, "n count"]:
        """`count` independent integers in 0 .. 2**32 - 1 per sample, as int64."""
        if count > _MANY and self.index.device != self.device:
            self.index = self.index.to(self.device, non_blocking=True)
            self._spare = None if self._spare is None else self._sent(self._spare)
        return self._sent(self._taken(count)).t()

    def _sent(self, drawn: Any) -> Tensor:
        """What was drawn, as a tensor where it is asked for; nothing waits for the device."""
        return _tensor(drawn).to(self.device, non_blocking=True)

    def _taken(self, count: int) -> Words:
        """The next words (count, n): on the CPU still numpy's, whose calls cost a tenth."""
        known = self._spare
        missing = count - (0 if known is None else len(known))
        if known is None or missing > 0:
            more = self._more(-(-missing // 4))
            known = more if known is None or not len(known) else _stacked(known, more)
        self._spare = known[count:]
        return known[:count]

    def _more(self, blocks: int) -> Words:
        n, device, first = len(self.index), self.index.device, self._block
        self._block += blocks
        if device.type == "cpu":
            even, odd = _counters(self, np.arange(first, self._block))
            drawn = _philox_cpu(even.reshape(2, -1), odd.reshape(2, -1), self._key).view(np.int64)
            return drawn if blocks == 1 else _by_block(drawn.reshape(4, blocks, n))
        block = torch.arange(first, self._block, device=device)
        counter = torch.empty((4, blocks, n), dtype=torch.int64, device=device)
        counter[0], counter[1] = self.index & _LOW, self.epoch & _LOW
        counter[2], counter[3] = block[:, None], self.index >> 32 & _LOW
        words = philox(counter.view(4, -1), self._key)
        return words.view(4, blocks, n).transpose(0, 1).reshape(-1, n)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Float[Tensor, " n"]:
        """One number per sample, uniform in [low, high), with 24 random bits."""
        return self._sent(_uniform(self._taken(1)[0]) * (high - low) + low)

    def uniforms(self, count: int) -> Float[Tensor, "n count"]:
        """`count` numbers per sample, uniform in [0, 1)."""
        return self._sent(_uniform(self._taken(count))).t()

    def integers(self, low: int, high: int) -> Int[Tensor, " n"]:
        """One integer per sample, uniform in low .. high - 1 (off by less than range / 2**32)."""
        return self._sent(((self._taken(1)[0] * (high - low)) >> 32) + low)

    def happens(self, prob: float) -> Bool[Tensor, " n"]:
        """True for a sample with probability `prob`."""
        return self._sent(_uniform(self._taken(1)[0]) < prob)

    def sign(self) -> Float[Tensor, " n"]:
        """-1 or +1 per sample."""
        return (self.words(1)[:, 0] & 1).float() * 2 - 1

    def normal(self) -> Float[Tensor, " n"]:
        """One standard normal number per sample."""
        return self.normals(1)[:, 0]

    def normals(self, count: int) -> Float[Tensor, "n count"]:
        """`count` standard normal numbers per sample, by Box and Muller."""
        return self._sent(self._normals(count))

    def _normals(self, count: int) -> Float[Tensor, "n count"]:
        pairs = -(-count // 2)
        u = self._inside(2 * pairs)
        radius = (-2 * u[:, :pairs].log()).sqrt()
        angle = u[:, pairs:] * (2 * torch.pi)
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return both[:, :count].float()

    def _inside(self, count: int) -> Float[Tensor, "n count"]:
        """Uniform in (0, 1), in double precision: the logarithm is finite."""
        return (_tensor(self._taken(count)).t().double() + 0.5) * 2.0**-32

    def beta(self, a: float, b: float) -> Float[Tensor, " n"]:
        """One number per sample from Beta(a, b), as a ratio of two gamma draws.

        Beta(1, 1), the most usual, is uniform and drawn as such.
        """
        if a == b == 1:
            return self.uniform()
        return self._sent(torch.sigmoid(self._log_gamma(a) - self._log_gamma(b)).float())

    def _log_gamma(self, shape: float) -> Float[Tensor, " n"]:
        """Logarithm of a Gamma(shape, 1) draw: Marsaglia and Tsang, the first try that holds.

        In logarithms, since small shapes underflow. Shapes below 1 use
        Gamma(shape) = Gamma(shape + 1) * U ** (1 / shape).
        """
        d = (shape + 1 if shape < 1 else shape) - 1 / 3
        x = self._normals(_GAMMA_TRIES).double()
        u = self._inside(_GAMMA_TRIES + 1)
        v = (1 + x / (9 * d) ** 0.5) ** 3
        log_v = v.clamp_min(1e-300).log()
        holds = (v > 0) & (u[:, 1:].log() < 0.5 * x**2 + d - d * v + d * log_v)
        first = holds.int().argmax(dim=1, keepdim=True)
        result: Tensor = log_v.gather(1, first)[:, 0] + float(np.log(d))
        return result + u[:, 0].log() / shape if shape < 1 else result

    def partners(self) -> Int[Tensor, " n"]:
        """For each sample, another one of the batch: a random cycle through all of them.

        The cycle follows the samples' own random keys, so it does not depend on their order in
        the batch. A batch of one has only itself.
        """
        order = _tensor(self._taken(1)[0]).argsort(stable=True)
        partner = torch.empty_like(order)
        partner[order] = order.roll(-1)
        return self._sent(partner)


def rngs(seed: int, names: Sequence[str], batch: Indexed) -> list[Rng]:
    """One Rng for each name, as Rng would make them, with their first draws made all at once."""
    made = [Rng(seed, name, batch) for name in names]
    if batch.index.device.type == "cpu" and len(made) > 1:
        even, odd = _counters(made[0], np.zeros(len(made)))
        keys = [rng._key for rng in made]
        drawn = _philox_cpu(even.reshape(2, -1), odd.reshape(2, -1), *keys).view(np.int64)
        for rng, words in zip(made, np.split(drawn, len(made), axis=1), strict=True):
            rng._spare, rng._block = words, 1
    return made


def _counters(rng: Rng, blocks: np.ndarray) -> np.ndarray:
    """Philox's counters of the samples, for each of the blocks: (even or odd, 2, blocks, n)."""
    index = rng.index.numpy().astype(np.uint64)
    counters = np.empty((2, 2, len(blocks), len(index)), np.uint64)
    even, odd = counters
    np.bitwise_and(index, _LOW, out=even[0])
    odd[0] = rng.epoch & _LOW
    even[1] = blocks[:, None]
    np.right_shift(index, 32, out=odd[1])
    return counters


def _tensor(values: Any) -> Tensor:
    tensor: Tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    return tensor


def _uniform(words: Any) -> Any:
    """Words to float32 in [0, 1), by their upper 24 bits: exact, so numpy's and torch's agree."""
    high = words >> 8
    return (high.float() if isinstance(high, Tensor) else high.astype(np.float32)) * 2.0**-24


def _stacked(a: Any, b: Any) -> Words:
    return torch.cat([a, b]) if isinstance(a, Tensor) else np.concatenate([a, b])


def _by_block(words: np.ndarray) -> np.ndarray:
    return words.transpose(1, 0, 2).reshape(-1, words.shape[2])


def permutation(size: int, seed: int, name: str, epoch: int) -> Int[Tensor, " size"]:
    """A random order of 0 .. size - 1, a function of its arguments alone (on the CPU)."""
    low, high = key_of(seed, f"{name}/{epoch}")
    generator = np.random.Generator(np.random.Philox(key=low | high << 32))
    return torch.from_numpy(generator.permutation(size))
