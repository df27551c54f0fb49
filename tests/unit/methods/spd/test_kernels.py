"""The fast forms of a step's inner loops against the obvious ones."""

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import compiled
from interp_plugins.methods.spd.masked import fired_sums, masked_inner
from interp_plugins.methods.spd.scalar_gate import scalar_gate
from interp_plugins.methods.spd.sigmoids import lower_leaky_hard, squashers, upper_leaky_hard

needs_compiler = pytest.mark.skipif(compiled.kernel_library() is None, reason="no C++ compiler here")


def _gate_inputs(runs=(), n_rows=300, n_components=7, n_hidden=5):
    g = torch.Generator().manual_seed(0)
    shapes = [(*runs, n_rows, n_components), *[(*runs, n_components, n_hidden)] * 3, (*runs, n_components)]
    return [torch.randn(shape, generator=g).requires_grad_() for shape in shapes]


def _with_gradients(function, inputs, seed=1):
    out = function(*inputs)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))
    return out.detach(), torch.autograd.grad(out, [t for t in inputs if t.requires_grad], upstream)


@pytest.mark.parametrize("runs", [(), (3,)])
@pytest.mark.parametrize("kernel", ["chunked", pytest.param("compiled", marks=needs_compiler)])
def test_fast_gates_equal_the_plain_one(kernel, runs):
    inputs = _gate_inputs(runs)
    want, want_grads = _with_gradients(lambda h, *w: scalar_gate(h, w, "plain"), inputs)
    got, got_grads = _with_gradients(lambda h, *w: scalar_gate(h, w, kernel), inputs)
    assert_close(got, want, rtol=0, atol=1e-5)
    for g, w in zip(got_grads, want_grads, strict=True):
        assert_close(g, w, rtol=0, atol=3e-6 * float(w.abs().max()) + 1e-6)


@needs_compiler
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_the_compiled_gate_is_accurate_in_the_tails(scale):
    inputs = [t.detach() * (scale if i == 0 else 1) for i, t in enumerate(_gate_inputs())]
    got = scalar_gate(inputs[0], tuple(inputs[1:]), "compiled")
    doubled = [t.double() for t in inputs]
    want = scalar_gate(doubled[0], tuple(doubled[1:]), "plain")
    assert float((got - want).abs().max()) < 3e-6 * max(1.0, float(want.abs().max()))


@needs_compiler
@pytest.mark.parametrize("share", [False, True])
def test_masked_activations_and_gradients_equal_torch(share, monkeypatch):
    g = torch.Generator().manual_seed(0)
    wide = torch.rand(2, 50, 12, generator=g)
    h = torch.randn(2, 50, 5, generator=g).requires_grad_()
    ci = wide[..., 3:8].detach().requires_grad_()  # rows at a distance from each other
    source, taken = wide[..., 7:12], torch.rand(2, 50, generator=g) if share else None

    def run(h, ci):
        return masked_inner(h, ci, source, taken)

    got, got_grads = _with_gradients(run, [h, ci])
    monkeypatch.setattr("interp_plugins.methods.spd.masked.usable", lambda *_: None)
    want, want_grads = _with_gradients(run, [h, ci])
    assert_close(got, want)
    assert_close(got_grads, want_grads)


def test_an_adversary_gets_a_gradient_for_the_sources():
    h, ci = torch.ones(4, 3), torch.full((4, 3), 0.25)
    source = torch.zeros(4, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(masked_inner(h, ci, source).sum(), source)
    assert_close(grad, torch.full((4, 3), 0.75))


@needs_compiler
@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_batch_sums_of_importances_equal_torch(power, weighted, monkeypatch):
    g = torch.Generator().manual_seed(0)
    z = (2 * torch.randn(2, 40, 6, generator=g)).requires_grad_()
    weights = torch.randint(0, 5, (2, 40), generator=g).float() if weighted else None

    def run(z):
        return fired_sums(z, weights, 1, power, 1e-12)

    got, got_grads = _with_gradients(run, [z])
    monkeypatch.setattr("interp_plugins.methods.spd.masked.usable", lambda *_: None)
    want, want_grads = _with_gradients(run, [z])
    assert_close(got, want)
    assert_close(got_grads, want_grads)


@pytest.mark.parametrize("only_upwards", [False, True])
def test_the_lower_sigmoids_gradient_is_as_specified(only_upwards, monkeypatch):
    x = torch.tensor([-2.0, -2.0, 0.0, 0.0, 0.5, 1.0, 1.5], requires_grad=True)
    upstream = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0, 2.0, 2.0])
    want = torch.tensor([0.0 if only_upwards else 0.01, -0.01, 0.0 if only_upwards else 0.01, -0.01, 2.0, 2.0, 0.0])
    for usable in (compiled.usable, lambda *_: None):
        monkeypatch.setattr("interp_plugins.methods.spd.sigmoids.usable", usable)
        (grad,) = torch.autograd.grad(lower_leaky_hard(x, only_upwards=only_upwards), x, upstream)
        assert_close(grad, want)


def test_the_upper_sigmoid_leaks_above_one():
    x = torch.tensor([-1.0, 0.25, 3.0], requires_grad=True)
    y = upper_leaky_hard(x)
    assert_close(y, torch.tensor([0.0, 0.25, 1.02]))
    assert_close(torch.autograd.grad(y.sum(), x)[0], torch.tensor([0.0, 1.0, 0.01]))


def test_without_compiled_kernels_torch_does_the_work(monkeypatch):
    monkeypatch.setenv(compiled.DISABLE, "1")
    compiled.kernel_library.cache_clear()
    try:
        assert compiled.kernel_library() is None
        inputs = [t.detach() for t in _gate_inputs()]
        want = scalar_gate(inputs[0], tuple(inputs[1:]), "plain")
        assert_close(scalar_gate(inputs[0], tuple(inputs[1:]), "auto"), want)
    finally:
        compiled.kernel_library.cache_clear()


def test_the_sigmoid_of_the_paper_leaks_its_value_and_its_gradient_below_zero():
    x = torch.tensor([-2.0, -0.5, 0.25, 0.75, 1.5], requires_grad=True)
    lower, upper = squashers("leaky_hard", "signed")
    assert_close(lower(x), torch.tensor([-0.02, -0.005, 0.25, 0.75, 1.0]))
    assert_close(torch.autograd.grad(lower(x).sum(), x)[0], torch.tensor([0.01, 0.01, 1.0, 1.0, 0.0]))
    assert_close(upper(x), torch.tensor([0.0, 0.0, 0.25, 0.75, 1.005]))


@needs_compiler
def test_masks_of_negative_importances_are_the_same_compiled_and_not(monkeypatch):
    g = torch.Generator().manual_seed(0)
    h, source = torch.randn(40, 6, generator=g), torch.rand(40, 6, generator=g)
    ci = 1.2 * torch.rand(40, 6, generator=g) - 0.2
    fast = masked_inner(h, ci, source)
    monkeypatch.setattr(compiled, "kernel_library", lambda: None)
    assert_close(fast, masked_inner(h, ci, source))
    assert_close(fast, h * (ci + (1 - ci) * source))
