"""The oldest entries give way, and sizes are accounted for."""

from __future__ import annotations

from chatsvc.core.sized_cache import SizedCache


def kept(cache: SizedCache[str, int], keys: str) -> str:
    return "".join(key for key in keys if cache.get(key) is not None)


def test_entries_up_to_the_size_are_kept() -> None:
    cache: SizedCache[str, int] = SizedCache(6)
    for value, key in enumerate("abc"):
        cache.add(key, value, 2)
    assert [cache.get(key) for key in "abcd"] == [0, 1, 2, None]
    assert len(cache) == 3


def test_beyond_it_the_oldest_give_way() -> None:
    cache: SizedCache[str, int] = SizedCache(6)
    for key in "abc":
        cache.add(key, 1, 2)
    cache.add("d", 1, 3)
    assert kept(cache, "abcd") == "cd"


def test_what_is_replaced_counts_once_and_as_the_newest() -> None:
    cache: SizedCache[str, int] = SizedCache(6)
    cache.add("a", 1, 2)
    cache.add("b", 1, 2)
    cache.add("a", 7, 3)
    cache.add("c", 1, 1)
    assert kept(cache, "abc") == "abc"
    cache.add("d", 1, 1)
    assert kept(cache, "abcd") == "acd"
    assert cache.get("a") == 7


def test_one_that_is_larger_alone_is_kept_alone() -> None:
    cache: SizedCache[str, int] = SizedCache(6)
    cache.add("a", 1, 2)
    cache.add("b", 1, 9)
    assert kept(cache, "ab") == "b"
    cache.add("c", 1, 6)
    assert kept(cache, "abc") == "c"


def test_what_is_removed_makes_room_for_others() -> None:
    cache = SizedCache[str, int](10)
    cache.add("a", 1, 6)
    cache.discard("a")
    cache.discard("a")
    cache.add("b", 2, 10)
    assert (cache.get("a"), cache.get("b")) == (None, 2)
    cache.clear()
    cache.add("c", 3, 10)
    assert (len(cache), cache.get("b"), cache.get("c")) == (1, None, 3)
