"""Steps of the text on the tokens that end them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from reasoning_rl.data.tokenizer import learn_tokenizer, load_tokenizer, save_tokenizer
from reasoning_rl.errors import TrainingError
from reasoning_rl.records import Completion, Group, Problem, Prompt, Score, StepReward, StepScore, Verdict
from reasoning_rl.rewards.steps import steps
from reasoning_rl.rollout.steps import last_token, with_steps

PROBLEM = Problem("p", "t", "t", "q", "7")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """Single bytes, the tags, and `apples` as one token."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(learn_tokenizer(["apples apples"], 300), folder, 128)
    return load_tokenizer(folder)


def completion(text: str, tokenizer: PreTrainedTokenizerBase, *, ended: bool = True) -> Completion:
    ids: list[int] = tokenizer(text)["input_ids"]
    return Completion(text, (*ids, tokenizer.eos_token_id) if ended else tuple(ids), finish_reason="stop" if ended else "length")


def prefix(answer: Completion, last: int, tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(list(answer.token_ids[: last + 1])))


def test_tokens_of_one_letter_each_are_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    # digits are single tokens, and no merge crosses them: 1 2 3 at places 0 1 2
    answer = completion("123", tokenizer)
    assert len(answer.token_ids) == 4
    assert [last_token(answer, end, tokenizer) for end in (1, 2, 3)] == [0, 1, 2]


def test_a_character_of_several_tokens_ends_with_its_last(tokenizer: PreTrainedTokenizerBase) -> None:
    # é, 汉 and 😀 are 2, 3 and 4 bytes, and none was in the texts that the tokenizer was learned from
    answer = completion("1é汉😀2", tokenizer)
    assert len(answer.token_ids) == 1 + 2 + 3 + 4 + 1 + 1
    assert [last_token(answer, end, tokenizer) for end in (1, 2, 3, 4, 5)] == [0, 2, 5, 9, 10]


def test_a_tag_is_one_token(tokenizer: PreTrainedTokenizerBase) -> None:
    answer = completion("<think>3</think>", tokenizer)
    assert [last_token(answer, end, tokenizer) for end in (1, 7, 8, 9, 16)] == [0, 0, 1, 2, 2]


def test_a_token_of_several_characters_ends_all_of_them(tokenizer: PreTrainedTokenizerBase) -> None:
    answer = completion("3apples4", tokenizer)
    assert len(answer.token_ids) == 4
    assert [last_token(answer, end, tokenizer) for end in range(1, 9)] == [0, 1, 1, 1, 1, 1, 1, 2]


def test_an_answer_that_was_cut_off_within_a_character_keeps_its_steps(tokenizer: PreTrainedTokenizerBase) -> None:
    whole = completion("1+2=3\n汉", tokenizer, ended=False)
    cut = whole.token_ids[:-1]
    answer = Completion(str(tokenizer.decode(list(cut))), cut, finish_reason="length")
    assert answer.text.endswith("�")
    assert last_token(answer, 5, tokenizer) == last_token(whole, 5, tokenizer)
    assert last_token(answer, len(answer.text), tokenizer) <= len(cut) - 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["apples", "a", "1", "é", "汉", "😀", "\n", " ", "<think>", "<"]), min_size=1, max_size=12).map("".join),
    st.data(),
)
def test_the_text_up_to_the_token_holds_the_step_and_less_does_not(
    tokenizer: PreTrainedTokenizerBase, text: str, data: st.DataObject
) -> None:
    answer, end = completion(text, tokenizer), data.draw(st.integers(1, len(text)))
    found = last_token(answer, end, tokenizer)
    assert prefix(answer, found, tokenizer)[:end] == text[:end]
    assert prefix(answer, found - 1, tokenizer)[:end] != text[:end]


def test_tokens_of_another_text_are_an_error(tokenizer: PreTrainedTokenizerBase) -> None:
    answer = Completion("12", completion("13", tokenizer).token_ids)
    with pytest.raises(TrainingError, match="don't spell '12'"):
        last_token(answer, 2, tokenizer)


def group(*judged: tuple[Completion, dict[str, Score]]) -> Group:
    return Group(Prompt(PROBLEM, "q", (1,)), tuple(answer for answer, _ in judged), tuple(Verdict(0.0, scores) for _, scores in judged))


def test_the_steps_verifier_and_the_tokens_agree(tokenizer: PreTrainedTokenizerBase) -> None:
    # 1 + 2 = 3 at tokens 0 to 4, a newline, 3 + 4 = 8 at tokens 6 to 10
    answer = completion("1+2=3\n3+4=8", tokenizer)
    (found,) = with_steps([group((answer, {"steps": steps(answer, PROBLEM)}))], tokenizer)
    assert found.steps == ((StepReward(4, 1.0), StepReward(10, 0.0)),)


def test_the_first_verifier_with_steps_is_taken_and_an_answer_may_have_none(tokenizer: PreTrainedTokenizerBase) -> None:
    answer = completion("123", tokenizer)
    scores = {
        "format": Score(1.0),
        "model": Score(0.5, steps=(StepScore(2, 0.5),)),
        "other": Score(1.0, steps=(StepScore(1, 1.0),)),
    }
    (found,) = with_steps([group((answer, scores), (answer, {"format": Score(1.0)}))], tokenizer)
    assert found.steps == ((StepReward(1, 0.5),), ())


def test_no_groups_have_no_steps(tokenizer: PreTrainedTokenizerBase) -> None:
    assert with_steps([], tokenizer) == []
