"""Words of any language, without a dictionary."""

from reasoning_rl.rewards.words import spoken_words, written_words


def test_written_words_are_runs_of_letters_of_one_script() -> None:
    assert written_words("naïve мир, ab12") == [("naïve", "LATIN"), ("мир", "CYRILLIC"), ("ab", "LATIN")]


def test_each_letter_of_a_script_without_spaces_is_a_word() -> None:
    assert [word for word, _ in written_words("我们go")] == ["我", "们", "go"]
    assert spoken_words("我们 Go! 5") == ["我", "们", "go!", "5"]


def test_an_accent_written_apart_belongs_to_its_letter() -> None:
    assert written_words("cafe\u0301") == [("café", "LATIN")]


def test_a_run_without_spaces_is_cut_into_pieces() -> None:
    assert spoken_words("a" * 70) == ["a" * 32, "a" * 32, "a" * 6]
