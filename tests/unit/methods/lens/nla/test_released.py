"""Checkpoints of the published format load, run and are refused where they do not fit together."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from interp_plugins.methods.lens.contract import Explanation
from interp_plugins.methods.lens.nla.injection import injection_row
from interp_plugins.methods.lens.nla.prompts import chat_ids, fill
from interp_plugins.methods.lens.nla.reconstructor import Reconstructor, truncated_copy
from interp_plugins.methods.lens.nla.verbaliser import Verbaliser, cjk_share, extract
from interp_registry.errors import DataError, UsageError

PROMPT = "Describe the vector.\n<concept>{injection_char}</concept>\nUse <explanation> tags."


@pytest.fixture
def vectors():
    return torch.randn(3, 32, generator=torch.Generator().manual_seed(3)) * torch.tensor([[1.0], [1e-3], [700.0]])


def test_the_injected_row_has_the_stated_length_and_the_direction_of_the_activation():
    row = injection_row(torch.tensor([[3.0, 4.0], [0.0, -0.5], [0.0, 0.0]]), 10.0, torch.float32)
    assert row.tolist() == [[6.0, 8.0], [0.0, -10.0], [0.0, 0.0]]
    half = injection_row(torch.tensor([[300.0, 400.0]], dtype=torch.float16) * 100, 10.0, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert half.tolist() == [[6.0, 8.0]], "the norm of 50000 overflows in float16 when squared"


def test_only_the_marker_row_of_the_prompt_is_overwritten(released_once, vectors):
    verbaliser = Verbaliser.load(released_once.verbaliser)
    prompt, network = verbaliser.injector.prompt, verbaliser.network
    rows = verbaliser.injector.embeddings(vectors)
    words = network.get_input_embeddings()(torch.tensor([prompt.ids]))
    others = [place for place in range(len(prompt.ids)) if place != prompt.position]
    assert torch.equal(rows[:, others], words[:, others].expand(3, -1, -1))
    by_hand = vectors / vectors.norm(dim=1, keepdim=True) * 5.0
    assert torch.allclose(rows[:, prompt.position], by_hand, rtol=1e-6)
    if released_once.family == "gemma3":
        table = network.get_input_embeddings().weight[list(prompt.ids)]
        assert torch.allclose(words[0], table * 32**0.5, rtol=1e-3), "words are scaled, the activation is not"


def test_injecting_the_marker_itself_changes_nothing(released_once):
    plain = Verbaliser.load(released_once.verbaliser)
    ids = torch.tensor([plain.injector.prompt.ids])
    own = plain.injector.embed(ids)[0, plain.injector.prompt.position].detach()
    same = Verbaliser.load(released_once.verbaliser, scale=float(own.norm()))
    answer = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        expected = same.network(input_ids=torch.cat([ids, answer], 1)).logits[:, -4:-1]
        found = same.injector.next_logits(own[None] * 17.0, answer)
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_prompt_is_made_in_one_step_and_has_one_beginning_of_sequence(released):
    tokenizer = AutoTokenizer.from_pretrained(released.verbaliser)
    content = fill(PROMPT, "injection_char", "\u320e")
    ids = chat_ids(tokenizer, content)
    message = [{"role": "user", "content": content}]
    in_two_steps = tokenizer.encode(tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
    assert in_two_steps == [tokenizer.bos_token_id, *ids], "the trap: a second token in front shifts the marker"
    assert list(Verbaliser.load(released.verbaliser).injector.prompt.ids) == ids
    assert ids.count(tokenizer.bos_token_id) == 1


def test_cached_answers_equal_the_librarys_generation(released_once, vectors):
    verbaliser = Verbaliser.load(released_once.verbaliser)
    answers = verbaliser.injector.answer(vectors, 12)
    expected = verbaliser.network.generate(
        inputs_embeds=verbaliser.injector.embeddings(vectors),
        attention_mask=torch.ones(3, len(verbaliser.injector.prompt.ids), dtype=torch.int64),
        max_new_tokens=12,
        do_sample=False,
    )
    for row in range(3):
        real = int(answers.mask[row].sum())
        assert answers.token_ids[row, :real].tolist() == expected[row, :real].tolist()


def test_the_probabilities_of_drawn_tokens_are_those_of_one_whole_pass(released_once, vectors):
    verbaliser = Verbaliser.load(released_once.verbaliser)
    source = torch.Generator().manual_seed(0)
    answers = verbaliser.injector.answer(vectors, 10, temperature=1.0, generator=source)
    again = verbaliser.injector.logprobs(vectors, answers.token_ids)
    assert torch.allclose(again[answers.mask], answers.logprobs[answers.mask], atol=1e-4)
    again.sum().backward()
    assert verbaliser.network.get_input_embeddings().weight.grad is not None


def test_samples_follow_from_the_seed_and_differ_from_each_other(released_once, vectors):
    verbaliser = Verbaliser.load(released_once.verbaliser)
    drawn = verbaliser.explain(vectors, 8, samples=2, temperature=1.0, seed=1)
    assert drawn == verbaliser.explain(vectors, 8, samples=2, temperature=1.0, seed=1)
    assert drawn != verbaliser.explain(vectors, 8, samples=2, temperature=1.0, seed=2)
    assert drawn[0][0] != drawn[0][1]
    assert not drawn[0][0].parsed, "random weights write no tags"
    assert len(drawn[0][0].logprobs) == len(drawn[0][0].token_ids)


@pytest.mark.parametrize(
    ("answer", "plain", "finished", "expected"),
    [
        ("so <explanation>\na red\nmoon \n</explanation> bye", False, False, ("a red\nmoon", True)),
        ("a red moon", False, True, ("a red moon", False)),
        (" a red moon ", True, True, ("a red moon", True)),
        ("a red moon", True, False, ("a red moon", False)),
        ("  ", True, True, ("", False)),
    ],
)
def test_explanations_are_taken_out_of_answers(answer, plain, finished, expected):
    assert extract(answer, plain=plain, finished=finished) == expected


def test_the_smell_test_counts_ideographs():
    assert cjk_share(["a red moon", ""]) == 0.0
    assert cjk_share(["\u320e\u4e2d \u6587"]) == 1.0
    assert cjk_share(["ab\u4e2d\u6587"]) == 0.5
    assert cjk_share([]) == 0.0


def test_a_reconstruction_is_the_head_of_the_block_output_at_the_last_token(released_once):
    reconstructor = Reconstructor.load(released_once.reconstructor)
    texts = ["a", " a red moon  ", "on the beach"]
    found = reconstructor.read(texts)
    tokenizer = released_once.tokenizer
    head = load_file(released_once.reconstructor / "value_head.safetensors")["weight"]
    body = reconstructor.reader.network.get_decoder()
    for row, text in enumerate(texts):
        filled = f"Summary of the following text: <text>{text.strip()}</text> <summary>"
        ids = torch.tensor([tokenizer(filled)["input_ids"]])
        seen = []
        handle = body.layers[-1].register_forward_hook(lambda _m, _a, output, seen=seen: seen.append(output))
        with torch.no_grad():
            body(input_ids=ids)
        handle.remove()
        output = seen[0] if isinstance(seen[0], torch.Tensor) else seen[0][0]
        assert torch.allclose(found[row], head @ output[0, -1], atol=1e-5)
    assert reconstructor.layer == 2, "layer index 1 is layer 2 here"


def test_a_checkpoint_that_is_saved_loads_as_the_same(released_once, tmp_path, vectors):
    verbaliser, reconstructor = (
        Verbaliser.load(released_once.verbaliser),
        Reconstructor.load(released_once.reconstructor),
    )
    verbaliser.save(tmp_path / "av")
    reconstructor.save(tmp_path / "ar")
    again, reads = Verbaliser.load(tmp_path / "av"), Reconstructor.load(tmp_path / "ar")
    assert again.explain(vectors, 8) == verbaliser.explain(vectors, 8)
    assert torch.equal(reads.read(["a red moon"]), reconstructor.read(["a red moon"]))
    assert again.sidecar.to_json() == verbaliser.sidecar.to_json()
    assert reads.sidecar.to_json() == reconstructor.sidecar.to_json()


@pytest.mark.parametrize(
    ("half", "key", "value", "reason"),
    [
        ("av", "tokens.injection_left_neighbor_id", 9, "injection_left_neighbor_id is 9"),
        ("av", "tokens.injection_right_neighbor_id", 9, "injection_right_neighbor_id is 9"),
        ("av", "tokens.injection_token_id", 9, "injection_token_id is 9"),
        ("av", "tokens.injection_token_id", True, "injection_token_id is True"),
        ("av", "tokens.injection_char", "ab", "'ab' is not a single token"),
        ("av", "prompt_templates.av", "<concept>\u320e</concept> {injection_char}", "the marker 2 times"),
        ("av", "prompt_templates.av", "no place", r"prompt_templates\.av is 'no place'"),
        ("av", "prompt_templates.av", None, r"prompt_templates\.av is missing"),
        ("av", "prompt_templates.actor", "other {injection_char}", "differ"),
        ("av", "prompt_templates.av", "the vector {injection_char} is", "neighbor_id is"),
        ("av", "extraction.injection_scale", None, r"extraction\.injection_scale is missing"),
        ("av", "extraction.injection_scale", -1.0, r"extraction\.injection_scale is -1\.0"),
        ("av", "extraction.injection_scale", "huge", r"extraction\.injection_scale is 'huge'"),
        ("av", "extraction.norm", "whitened", r"extraction\.norm is 'whitened'"),
        ("av", "d_model", 33, "d_model is 33, the network beside it has 32"),
        ("av", "d_model", None, "d_model is missing"),
        ("av", "role", "ar", "role is that of a reconstructor"),
        ("av", "role", "writer", "role is 'writer'"),
        ("av", "role", None, "role is missing"),
        ("av", "kind", "nla_dataset", "kind is 'nla_dataset'"),
        ("av", "schema_version", 3, "schema_version is 3"),
        ("ar", "role", "actor", "role is that of a verbaliser"),
        ("ar", "extraction_layer_index", 2, "the layer is stated twice"),
        ("ar", "critic.num_hidden_layers", 3, "num_hidden_layers is 3"),
        ("ar", "tokens.critic_suffix_ids", [1, 2], r"critic_suffix_ids is \[1, 2\]"),
        ("ar", "tokens.critic_suffix_ids", "x", "critic_suffix_ids is 'x'"),
        ("ar", "prompt_templates.ar", "read {explanation}!", "it needs at least 2"),
        ("ar", "prompt_templates.ar", "read {explanation} now", "critic_suffix_ids"),
        ("ar", "d_model", 31, "expected weight of shape"),
    ],
)
def test_a_wrong_statement_is_refused_with_its_reason(released, half, key, value, reason):
    folder = released.verbaliser if half == "av" else released.reconstructor
    released.change(folder, key, value)
    with pytest.raises(DataError, match=reason) as caught:
        (Verbaliser if half == "av" else Reconstructor).load(folder)
    assert "\n" not in caught.value.message


def test_a_network_with_another_number_of_blocks_is_refused(released):
    released.change(released.reconstructor, "critic", {"extraction_layer_index": 2})
    released.change(released.reconstructor, "extraction_layer_index", 2)
    with pytest.raises(DataError, match="needs 3 blocks, the network beside it has 2"):
        Reconstructor.load(released.reconstructor)


def test_a_missing_beginning_of_sequence_is_refused(released):
    for folder in (released.verbaliser, released.reconstructor):
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"post_processor": None}))
    with pytest.raises(DataError, match="does not begin with '<bos>'"):
        Reconstructor.load(released.reconstructor)


def test_a_chat_template_with_none_or_two_beginnings_is_refused(released):
    path = released.verbaliser / "chat_template.jinja"
    template = path.read_text()
    path.write_text(template.replace("{{ bos_token }}", ""))
    with pytest.raises(DataError, match="does not begin with '<bos>'"):
        Verbaliser.load(released.verbaliser)
    path.write_text("{{ bos_token }}" + template)
    with pytest.raises(DataError, match="second beginning-of-sequence"):
        Verbaliser.load(released.verbaliser)


def test_both_spellings_and_the_first_schema_are_read(released, vectors):
    expected = Verbaliser.load(released.verbaliser).explain(vectors, 4)
    text = "<concept>{injection_char}</concept>"
    for key, value in (
        ("role", "actor"), ("schema_version", 1),
        ("prompt_templates", {"actor": PROMPT, "critic": "{explanation} is it"}),
    ):  # fmt: skip
        released.change(released.verbaliser, key, value)
    assert text in PROMPT
    assert Verbaliser.load(released.verbaliser).explain(vectors, 4) == expected
    for key, value in (
        ("role", "critic"), ("schema_version", 1), ("extraction_layer_index", None),
        ("critic", {"num_hidden_layers": 2}),
    ):  # fmt: skip
        released.change(released.reconstructor, key, value)
    assert Reconstructor.load(released.reconstructor).layer == 2


def test_foreign_and_missing_files_are_refused(released, tmp_path):
    with pytest.raises(DataError, match=r"has no nla_meta\.yaml"):
        Verbaliser.load(tmp_path / "nowhere")
    head = released.reconstructor / "value_head.safetensors"
    save_file({"weight": torch.eye(31)}, head)
    with pytest.raises(DataError, match=r"expected weight of shape \(32, 32\)"):
        Reconstructor.load(released.reconstructor)
    head.write_bytes(b"no safetensors")
    with pytest.raises(DataError, match="is no safetensors file"):
        Reconstructor.load(released.reconstructor)
    head.unlink()
    with pytest.raises(DataError, match=r"has no value_head\.safetensors"):
        Reconstructor.load(released.reconstructor)
    (released.verbaliser / "nla_meta.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(DataError, match="not valid YAML"):
        Verbaliser.load(released.verbaliser)


def test_weights_in_a_pickle_are_not_read(released):
    tensors = load_file(released.verbaliser / "model.safetensors")
    (released.verbaliser / "model.safetensors").unlink()
    torch.save(tensors, released.verbaliser / "pytorch_model.bin")
    with pytest.raises(DataError, match="holds no causal language model with safetensors"):
        Verbaliser.load(released.verbaliser)


def test_a_truncated_copy_computes_the_first_blocks(released_once):
    whole = Verbaliser.load(released_once.verbaliser).network
    ids = torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]])
    with torch.no_grad():
        expected = whole.get_decoder()(input_ids=ids, output_hidden_states=True).hidden_states[2]
        shorter = truncated_copy(whole, 2)
        found = shorter.get_decoder()(input_ids=ids, output_hidden_states=True).hidden_states
    assert len(found) == 3
    kinds = shorter.config.layer_types
    assert kinds == whole.config.layer_types[:2]
    last = shorter.get_decoder().norm(expected)
    assert torch.equal(found[2], last)
    with pytest.raises(UsageError, match="5 blocks are wanted"):
        truncated_copy(whole, 5)


def test_an_explanation_of_anybody_can_be_read(released_once):
    reconstructor = Reconstructor.load(released_once.reconstructor)
    mine = Explanation("a red moon", (), (), True)
    assert reconstructor.read([mine.text]).shape == (1, 32)


def test_a_checkpoint_that_lacks_weights_is_refused(released):
    for folder, loads in ((released.verbaliser, Verbaliser), (released.reconstructor, Reconstructor)):
        file = folder / "model.safetensors"
        tensors = load_file(file)
        loads.load(folder)
        save_file({name: v for name, v in tensors.items() if "layers.1.mlp" not in name}, file, {"format": "pt"})
        with pytest.raises(DataError, match=r"lacks the weights model\.layers\.1\.mlp"):
            loads.load(folder)


def test_a_reconstructor_without_head_and_final_norm_loads(released):
    expected = Reconstructor.load(released.reconstructor).read(["a red moon"])
    file = released.reconstructor / "model.safetensors"
    tensors = load_file(file)
    kept = {name: v for name, v in tensors.items() if name != "model.norm.weight" and "lm_head" not in name}
    assert len(kept) < len(tensors)
    save_file(kept, file, {"format": "pt"})
    assert torch.equal(Reconstructor.load(released.reconstructor).read(["a red moon"]), expected)
