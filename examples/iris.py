"""Trains an ensemble of small networks on the iris data and leaves plain files behind: no SDK.

What it writes into $PINNACE_ARTIFACTS_DIR:
    metrics.jsonl           a line per epoch, appended while training: step, loss, accuracy, train_accuracy
    model.npz               the ensemble's weights and the scaling of its inputs
    checkpoints/final.ckpt  the optimiser's last states, to go on from or to average (an .npz by content)
    plot.png                loss and accuracy by epoch
Files that are written in one piece get a `.tmp` name first and are renamed when complete.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import matplotlib
import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

matplotlib.use("Agg")
from matplotlib import pyplot as plt

MEMBERS = 32
BATCH = 16
CLASSES = 3
#: How much of the optimiser's history a checkpoint keeps: as many of the last epochs as fit.
HISTORY_BYTES = 64 * 2**20


class Ensemble:
    """`MEMBERS` networks 4 → hidden → hidden → 3 side by side, each begun elsewhere, trained by Adam.

    All weights lie in one array, a row per member, so that a snapshot of the optimiser's state is one copy.
    """

    def __init__(self, inputs: int, hidden: int, rng: np.random.Generator) -> None:
        self.shapes = [(inputs, hidden), (1, hidden), (hidden, hidden), (1, hidden), (hidden, CLASSES), (1, CLASSES)]
        sizes = [rows * columns for rows, columns in self.shapes]
        self.ends = np.cumsum(sizes)
        # weights, first and second moments: everything that training needs to go on
        self.state = np.zeros((3, MEMBERS, self.ends[-1]))
        for layer, (rows, _) in zip(self.layers(self.state[0]), self.shapes, strict=True):
            layer[...] = rng.normal(0, np.sqrt(2 / rows), layer.shape) if rows > 1 else 0
        self.steps = 0

    def layers(self, flat: Any) -> list[Any]:
        """Views of `flat`, one per layer's weights and biases."""
        parts = np.split(flat, self.ends[:-1], axis=1)
        return [part.reshape(MEMBERS, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        w1, b1, w2, b2, w3, b3 = self.layers(self.state[0])
        first = np.maximum(x @ w1 + b1, 0)
        second = np.maximum(first @ w2 + b2, 0)
        scores = second @ w3 + b3
        odds = np.exp(scores - scores.max(axis=2, keepdims=True))
        return first, second, odds / odds.sum(axis=2, keepdims=True)

    def step(self, x: Any, labels: Any, lr: float) -> None:
        """One step of Adam on one batch, the same batch for every member."""
        first, second, odds = self.forward(x)
        _, _, w2, _, w3, _ = self.layers(self.state[0])
        error = (odds - np.eye(CLASSES)[labels]) / len(labels)
        error2 = (error @ w3.transpose(0, 2, 1)) * (second > 0)
        error1 = (error2 @ w2.transpose(0, 2, 1)) * (first > 0)
        gradient = np.concatenate(
            [
                part.reshape(MEMBERS, -1)
                for below, above in ((x[None], error1), (first, error2), (second, error))
                for part in (below.transpose(0, 2, 1) @ above, above.sum(axis=1))
            ],
            axis=1,
        )
        self.steps += 1
        weights, mean, square = self.state
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient**2 - square)
        weights -= lr * (mean / (1 - 0.9**self.steps)) / (np.sqrt(square / (1 - 0.999**self.steps)) + 1e-8)

    def judge(self, x: Any, labels: Any) -> tuple[float, float]:
        """Loss and accuracy of the members' mean opinion."""
        odds = self.forward(x)[2].mean(axis=0)
        loss = -np.log(odds[np.arange(len(labels)), labels] + 1e-12).mean()
        return float(loss), float((odds.argmax(axis=1) == labels).mean())


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Nobody ever sees half of `path`: it is renamed into place when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("wb") as file:
        write(file)
    unfinished.rename(path)


def draw(rows: list[dict[str, float]], title: str, file: IO[bytes]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    epochs = [row["step"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows])
    left.set(title=title, xlabel="epoch", ylabel="loss", yscale="log")
    right.plot(epochs, [row["train_accuracy"] for row in rows], label="train")
    right.plot(epochs, [row["accuracy"] for row in rows], label="test")
    right.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02))
    right.legend()
    figure.savefig(file, format="png", dpi=120)
    plt.close(figure)


def train(directory: Path, *, lr: float, hidden: int, epochs: int, seed: int) -> dict[str, float]:
    """Train, write the files, and return the last epoch's line."""
    rng = np.random.default_rng(seed)
    features, labels = load_iris(return_X_y=True)
    x, x_test, y, y_test = train_test_split(features, labels, test_size=0.3, stratify=labels, random_state=seed)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    x, x_test = (x - mean) / scale, (x_test - mean) / scale

    ensemble = Ensemble(x.shape[1], hidden, rng)
    kept = min(epochs, max(1, HISTORY_BYTES // ensemble.state.nbytes))
    history = np.empty((kept, *ensemble.state.shape))
    rows: list[dict[str, float]] = []
    directory.mkdir(parents=True, exist_ok=True)
    # A container that is started again begins anew, and so does its file.
    with (directory / "metrics.jsonl").open("w", encoding="utf-8", buffering=1) as metrics:
        for epoch in range(epochs):
            for batch in np.array_split(rng.permutation(len(x)), -(-len(x) // BATCH)):
                ensemble.step(x[batch], y[batch], lr)
            loss, train_accuracy = ensemble.judge(x, y)
            _, accuracy = ensemble.judge(x_test, y_test)
            rows.append({"step": epoch, "loss": loss, "accuracy": accuracy, "train_accuracy": train_accuracy})
            metrics.write(json.dumps(rows[-1]) + "\n")
            history[epoch % kept] = ensemble.state

    names = ("w1", "b1", "w2", "b2", "w3", "b3")
    weights = dict(zip(names, ensemble.layers(ensemble.state[0]), strict=True))
    write_whole(directory / "model.npz", lambda file: np.savez_compressed(file, mean=mean, scale=scale, **weights))
    last = np.arange(epochs - kept, epochs)
    write_whole(
        directory / "checkpoints" / "final.ckpt",
        lambda file: np.savez(file, epochs=last, states=history[last % kept], steps=ensemble.steps),
    )
    write_whole(directory / "plot.png", lambda file: draw(rows, f"lr {lr}, hidden {hidden}", file))
    return rows[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description="train an ensemble of small networks on the iris data")
    parser.add_argument("--lr", type=float, default=os.environ.get("PINNACE_PARAM_LR", "0.01"))
    parser.add_argument("--hidden", type=int, default=os.environ.get("PINNACE_PARAM_HIDDEN", "16"))
    parser.add_argument("--epochs", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--directory", type=Path, default=os.environ.get("PINNACE_ARTIFACTS_DIR", "artifacts"))
    options = parser.parse_args()
    started = time.monotonic()
    last = train(options.directory, lr=options.lr, hidden=options.hidden, epochs=options.epochs, seed=options.seed)
    print(
        f"lr={options.lr} hidden={options.hidden}: accuracy {last['accuracy']:.3f}, loss {last['loss']:.4f} "
        f"after {options.epochs} epochs in {time.monotonic() - started:.1f} s"
    )


if __name__ == "__main__":
    main()
