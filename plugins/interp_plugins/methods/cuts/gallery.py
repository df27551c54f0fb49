"""Figures of a cut; the shell draws them."""

from collections.abc import Sequence

from interp_plugins.methods.cuts.agreement import word_similarity
from interp_plugins.methods.cuts.cut import Cut
from interp_plugins.methods.cuts.nodes import CorpusNodes
from interp_plugins.methods.cuts.pictures import COLOUR_NAMES, eigenvector_colours, overlay, patch_picture
from interp_plugins.methods.cuts.words import ClusterWord
from interp_registry.figures import Figure, Images, Lines, MarkedText, Picture, Series

__all__ = ["cut_figures"]

N_CLOUD = 24


def cut_figures(
    model: str, nodes: CorpusNodes, cut: Cut, words: Sequence[ClusterWord], n_pictures: int
) -> list[Figure]:
    """Spectrum, pictures with overlays, word clouds of the clusters, and captions marked by cluster."""
    return [
        _spectrum(model, cut),
        _pictures(model, nodes, cut, n_pictures),
        *_clouds(model, cut, words),
        *_captions(model, nodes, cut, n_pictures),
    ]


def _spectrum(model: str, cut: Cut) -> Lines:
    values = tuple(cut.eigenvalues.tolist())
    numbers = tuple(float(i + 1) for i in range(len(values)))
    return Lines(
        series=(Series(name="eigenvalue", x=numbers, y=values),),
        x_title="number",
        y_title="eigenvalue of the normalised Laplacian",
        title=f"{model}: spectrum, {cut.n_clusters} clusters",
        caption=f"The gap after eigenvalue {cut.n_clusters} is {cut.eigengap:.4f}; the normalised cut is {cut.cut_value:.4f}.",
    )


def _pictures(model: str, nodes: CorpusNodes, cut: Cut, n_pictures: int) -> Images:
    colours = eigenvector_colours(cut.patch_vectors)
    shown: list[Picture] = []
    for sample in range(min(n_pictures, len(nodes.images))):
        mine = nodes.patch_owner == sample
        image = nodes.images[sample]
        size = (image.height, image.width)
        shown += [
            Picture.of_array(overlay(image, cut.patch_labels[mine], nodes.grid, 0.0), nodes.captions[sample]),
            Picture.of_array(overlay(image, cut.patch_labels[mine], nodes.grid), "clusters"),
            Picture.of_array(patch_picture(colours[mine], nodes.grid, size), "eigenvectors 1 to 3 as red, green, blue"),
        ]
    return Images(
        pictures=tuple(shown),
        columns=3,
        title=f"{model}: patches",
        caption="Image, clusters, and the first three eigenvectors that are not trivial on one scale for all images.",
    )


def _clouds(model: str, cut: Cut, words: Sequence[ClusterWord]) -> list[MarkedText]:
    clouds = []
    for cluster in range(cut.n_clusters):
        chosen = [word for word in words if word.cluster == cluster and word.distinctiveness > 0][:N_CLOUD]
        if chosen:
            clouds.append(
                MarkedText(
                    tokens=tuple(f"{word.word} " for word in chosen),
                    values=tuple(word.distinctiveness for word in chosen),
                    units="count x log of how much commoner (nats)",
                    title=f"{model}: words of cluster {cluster} ({COLOUR_NAMES[cluster % len(COLOUR_NAMES)]})",
                )
            )
    return clouds


def _captions(model: str, nodes: CorpusNodes, cut: Cut, n_pictures: int) -> list[MarkedText]:
    similarity = word_similarity(nodes)
    marked = []
    for sample in range(min(n_pictures, len(nodes.captions))):
        rows = (nodes.word_owner == sample).nonzero()[:, 0].tolist()
        marked.append(
            MarkedText(
                tokens=tuple(f"{nodes.names[row]}[{int(cut.word_labels[row])}] " for row in rows),
                values=tuple(similarity[row].item() for row in rows),
                units="mean similarity to the patches; cluster in brackets",
                title=f"{model}: caption {sample}",
            )
        )
    return marked
