import socket

import pytest

from portcullis.core.errors import Problem
from portcullis.identity.workload.socket import listening


def test_every_user_may_connect_and_nothing_is_left_behind(tmp_path):
    path = tmp_path / "run" / "api.sock"
    with listening(path):
        assert path.stat().st_mode & 0o777 == 0o666
        assert path.parent.stat().st_mode & 0o777 == 0o755
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_a_socket_file_that_a_crash_left_is_replaced(tmp_path):
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_another_gates_socket_is_left_alone(tmp_path):
    path = tmp_path / "api.sock"
    with listening(path):
        with pytest.raises(Problem) as refused, listening(path):
            pass
        assert refused.value.code == "PC7001"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_busy_gates_socket_is_left_alone(tmp_path):
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))  # fills the backlog
        with pytest.raises(Problem), listening(path):
            pass
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    path = tmp_path / "api.sock"
    path.write_text("precious")
    with pytest.raises(Problem) as refused, listening(path):
        pass
    assert refused.value.code == "PC7001"
    assert path.read_text() == "precious"


def test_a_directory_in_which_others_may_replace_the_socket_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(Problem) as refused, listening(tmp_path / "api.sock"):
        pass
    assert refused.value.code == "PC7001"
    tmp_path.chmod(0o1777)
    with listening(tmp_path / "api.sock"):
        pass


def test_too_long_a_path_is_explained(tmp_path):
    with pytest.raises(Problem) as refused, listening(tmp_path / ("a" * 108)):
        pass
    assert "too long" in refused.value.detail


def test_a_successors_socket_outlives_us(tmp_path):
    path = tmp_path / "api.sock"
    with listening(path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.exists()
