"""If this fails, a box is said to be under a profile that is not in force, or starts under none."""

from portcullis.execution.sandbox import apparmor


def test_only_our_profile_when_it_is_enforced_counts(tmp_path):
    enabled = tmp_path / "sys/module/apparmor/parameters/enabled"
    profiles = tmp_path / "sys/kernel/security/apparmor/profiles"
    assert apparmor.loaded(tmp_path) == ""
    for one in (enabled, profiles):
        one.parent.mkdir(parents=True)
    enabled.write_text("N\n")
    profiles.write_text("docker-default (enforce)\nportcullis-box (enforce)\n")
    assert apparmor.loaded(tmp_path) == ""
    enabled.write_text("Y\n")
    assert apparmor.loaded(tmp_path) == "portcullis-box"
    profiles.write_text("portcullis-box (complain)\n")
    assert apparmor.loaded(tmp_path) == ""
