"""`interp clip losses`: surfaces and curves of the alignment losses on a model's embeddings."""

import torch

from interp_plugins.losses.eigengap import laplacian_eigenvalues
from interp_plugins.losses.spectral import cross_singular_values
from interp_plugins.methods.clip.config import ClipLossesConfig
from interp_plugins.methods.clip.pairs import captions_of
from interp_plugins.methods.clip.surfaces import (
    cka_against_noise,
    eigengap_curve,
    eigengap_surface,
    spectral_curve,
    spectral_surface,
)
from interp_plugins.models.image_text.loading import load_image_text
from interp_registry.contracts.method import Result, RunContext
from interp_registry.figures import HeatMap, Lines, Series
from interp_registry.tensors.seeding import generator

__all__ = ["show_losses"]


def show_losses(config: ClipLossesConfig, ctx: RunContext) -> Result:
    """Surfaces over alpha and beta, curves over k, spectra, and CKA against noise."""
    model = load_image_text(config.model, config.loading, ctx.device)
    dataset = config.dataset.build().select(config.limit)
    rows = list(range(len(dataset)))
    x = model.embed_images([dataset.image(row) for row in rows]).double()
    y = model.embed_texts([captions[0] for captions in captions_of(dataset, rows)]).double()
    singular = cross_singular_values(x, y)
    eigenvalues = laplacian_eigenvalues(torch.cat([x, y]), config.sigma)
    axis = torch.linspace(0.1, 2.0, config.n_points, dtype=torch.float64)
    levels = torch.linspace(0.0, 2.0, config.n_points, dtype=torch.float64)
    ks = tuple(float(k) for k in range(1, config.k_max + 1))
    noise = [
        Series(
            name="debiased" if debiased else "biased",
            x=tuple(levels.tolist()),
            y=tuple(cka_against_noise(x, levels, generator(ctx.seed, "noise"), debiased=debiased)),
        )
        for debiased in (False, True)
    ]
    figures = [
        _surface("svd", spectral_surface(singular, config.k, axis, axis), axis, config.k),
        _surface("ncut", eigengap_surface(eigenvalues, config.k, axis, axis), axis, config.k),
        _lines(
            "svd loss against k",
            "k",
            "loss",
            [Series(name="svd", x=ks, y=tuple(spectral_curve(singular, config.k_max)))],
        ),
        _lines(
            "ncut loss against k",
            "k",
            "loss",
            [Series(name="ncut", x=ks, y=tuple(eigengap_curve(eigenvalues, config.k_max)))],
        ),
        _lines(
            "Singular values of the cross-covariance",
            "number",
            "singular value",
            [_numbered("sigma", singular, config.k_max)],
        ),
        _lines(
            "Laplacian eigenvalues of images and texts",
            "number",
            "eigenvalue",
            [_numbered("lambda", eigenvalues, config.k_max)],
        ),
        _lines("CKA of images with noisy images", "noise / standard deviation", "CKA", noise),
    ]
    scalars = {
        "svd": spectral_curve(singular, config.k)[-1],
        "ncut": eigengap_curve(eigenvalues, config.k)[-1],
        "gap_of_singular_values": (singular[config.k - 1] - singular[config.k]).item(),
        "gap_of_eigenvalues": (eigenvalues[config.k] - eigenvalues[config.k - 1]).item(),
    }
    return Result(scalars=scalars, figures=list(figures))


def _surface(name: str, values: torch.Tensor, axis: torch.Tensor, k: int) -> HeatMap:
    labels = tuple(f"{value:.2f}" for value in axis.tolist())
    return HeatMap(
        tuple(map(tuple, values.tolist())),
        rows=labels,
        columns=labels,
        row_title="alpha",
        column_title="beta",
        units="loss",
        title=f"{name} loss over alpha and beta, k = {k}",
    )


def _lines(title: str, x_title: str, y_title: str, series: list[Series]) -> Lines:
    return Lines(series=tuple(series), x_title=x_title, y_title=y_title, title=title)


def _numbered(name: str, values: torch.Tensor, n: int) -> Series:
    shown = values[: n + 1].tolist()
    return Series(name=name, x=tuple(float(i + 1) for i in range(len(shown))), y=tuple(shown))
