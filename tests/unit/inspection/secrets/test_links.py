import base64
import time

import pytest

from portcullis.inspection.links import authorities, carries, foreign

HOSTS = ("docs.example.com", "192.0.2.7", "bücher.example")


@pytest.mark.parametrize(
    "link",
    [
        "https://docs.example.com/a?b=c",
        "https://DOCS.Example.COM./x",
        "https://eu.docs.example.com:8443/x",
        "//docs.example.com/x",
        "![a](https://docs.example.com/x.png?d=1)",
        '<img src="https://docs.example.com/x">',
        "https://192.0.2.7/x",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/",
        "https://docs.example.com/go?to=https://evil.example/",
        "https://docs%2Eexample.com/",
        "https://docs.example.com, or ask ada@shop.example",
        "(https://docs.example.com), (//docs.example.com).",
        "[a](https://docs.example.com)[b](https://docs.example.com/b)",
        '<a href="https://docs.example.com">x</a> ada@shop.example',
    ],
)
def test_a_listed_host_and_its_subdomains_are_at_home(link):
    assert not foreign(link, HOSTS)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/docs.example.com",
        "https://docs.example.com.evil.example/",
        "https://evildocs.example.com/",
        "https://example.com/",
        "https://docs.example.com@evil.example/",
        "https://docs.example.com:x@evil.example/",
        "https://evil.example#@docs.example.com/",
        "https://evil.example?@docs.example.com/",
        "https://evil.example\\@docs.example.com/",
        "https:\\\\evil.example/docs.example.com",
        "https:evil.example",
        "https:/evil.example/x",
        "///evil.example/x",
        "//evil.example",
        "https://docs.example.com\t.evil.example/",
        "ht\ntps://evil.example/",
        "https://docs.example.com%40evil.example/",
        "https://docs.example.com%2Fevil.example/",
        "https://docs.example。com。evil.example/",
        "https://d\u043ecs.example.com/",
        "https://1.192.0.2.7/",
        "https://192.0.2.8/",
        "https://[::1]/",
        "https://docs.example.com:99x/",
        *(f"https://docs.example.com{sign}x@evil.example/" for sign in "\\,'\"`|()[]{}^"),
        "https://docs.example.com,.evil.example/",
        "https://docs.example.com'x.evil.example/",
        "[x](https://docs.example.com,x@evil.example/a)",
        '<img src="https://docs.example.com @evil.example/a">',
        "https://docs.example.com," + "x" * 5000 + "@evil.example/",
        "![https://docs.example.com/](https://evil.example/)",
        '<img src="https://docs.example.com/a" srcset="https://evil.example/b 2x">',
        "data:text/html,hello",
        "/relative/path",
        "",
    ],
)
def test_no_trick_makes_another_host_a_listed_one(link):
    assert foreign(link, HOSTS)


def test_with_no_host_listed_everything_is_foreign():
    assert foreign("https://docs.example.com/", ())
    assert authorities("see //a.example/x and https://b.example") == ("a.example", "b.example")


def disguises(text):
    data = text.encode()
    yield base64.b64encode(data).decode()
    yield base64.urlsafe_b64encode(data).decode().rstrip("=")
    yield base64.b32encode(data).decode().rstrip("=").lower()
    yield data.hex()


def test_a_text_in_disguise_is_data_wherever_it_stands_in_a_url():
    for hidden in disguises("Ada Lovelace, 12 March"):
        for place in ("/{}", "/a/{}/b.png", "/x?d={}", "/x#{}", "/x?a=1&{}"):
            url = f"https://evil.example{place.format(hidden)}"
            assert carries(url, loaded=False), url
            assert carries(f"![x]({url})", loaded=True), url
    assert carries(f"https://{'6164612c206c6f76656c616365'}.evil.example/", loaded=False)
    assert carries("https://evil.example/?mail=ada@example.org", loaded=False)
    assert carries("https://ada-lovelace-was-born-1815@evil.example/", loaded=False)


def test_what_is_loaded_when_shown_may_say_next_to_nothing():
    for query in ("q=secret", "name=Adele", "d=4111-1111-1111", "x=Ada+was+here", "secretword"):
        assert carries(f'<img src="https://evil.example/p?{query}">', loaded=True), query
        assert not carries(f"https://evil.example/p?{query}", loaded=False), query
    for query in ("w=640&h=480", "v=1.2.3", "branch=main", "style=flat-square&logo=github", "2"):
        assert not carries(f"![b](https://img.example/badge.svg?{query})", loaded=True), query


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://video.example/watch?v=dQw4w9WgXcQ&t=42s",
        "https://docs.example/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit#gid=0",
        "https://code.example/o/r/blob/9069ef5a1b2c3d4e5f60718293a4b5c6d7e8f901/src/main.py#L10-L20",
        "https://shop.example/search?q=red+running+shoes+size+42",
        "https://news.example/2024/03/how-i-learned-to-stop-worrying-and-love-the-bomb",
        "https://bucket.example/x?X-Amz-Date=20240101T000000Z&X-Amz-Signature=" + "0a" * 32,
        "https://de.wiki.example/wiki/Donaudampfschifffahrtsgesellschaft",
    ],
)
def test_ordinary_links_carry_nothing(url):
    assert not carries(url, loaded=False)


def test_letters_beside_a_code_in_a_links_user_are_no_fault():
    assert not carries("https://bmFtZTogQWRh2MjMéA7@files.example/", loaded=False)


def test_no_link_takes_long():
    for piece in ("a", "/", "%41", "&a=b", "a@", "+", "QUJD", "//a", "é", "[(", "a.b"):
        markup = f"![x](https://e.example/?{piece * (8000 // len(piece))})"
        began = time.process_time()
        carries(markup, loaded=True)
        carries(markup, loaded=False)
        foreign(markup, HOSTS)
        assert time.process_time() - began < 0.05, piece


def test_a_host_that_takes_long_to_normalise_is_none():
    began = time.process_time()
    assert foreign("https://docs.example.com" + "\u0316\u0301" * 20_000 + "/", HOSTS)
    assert time.process_time() - began < 0.2


def test_a_link_of_very_many_urls_carries_data():
    assert not carries("https://a.example/ " * 9, loaded=False)
    assert carries("https://a.example/ " * 40, loaded=False)


def test_many_links_of_one_word_take_no_time():
    began = time.process_time()
    assert foreign("www.docs.example.com," * 5000, HOSTS)
    assert time.process_time() - began < 1
