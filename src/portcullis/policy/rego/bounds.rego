# What a bound on an argument asks of a value. Rego orders across types, so every comparison
# checks the type first. Each rule says when a bound HOLDS: what is undefined does not hold.
package portcullis.bounds

import rego.v1

# Whether a bound of a tool's argument holds. One that is absent breaks no bound but these: it is
# required, or must equal something. First what most arguments come to.
held(bound) if {
	bound.kind == "maximum"
	is_number(input.arguments[bound.argument])
	input.arguments[bound.argument] <= bound.value
} else if {
	bound.kind == "max_length"
	is_string(input.arguments[bound.argument])
	count(input.arguments[bound.argument]) <= bound.value
} else if {
	kept(bound.kind, input.arguments[bound.argument], bound.value)
} else if {
	not bound.kind in {"required", "equals"}
	not present(bound.argument)
} else if {
	bound.kind == "required"
	given(bound.argument)
} else if {
	bound.kind == "equals"
	not bound.path
	same(input.arguments[bound.argument], bound.value)
} else if {
	bound.kind == "equals"
	input.session != null
	count(bound.path) > 0
	scoped(input.arguments[bound.argument], object.get(input.session, bound.path, null))
}

reason(bound) := concat("", [bound.argument, " must equal session.", concat(".", bound.path)]) if {
	bound.session
} else := concat("", [bound.argument, " breaks its bound ", bound.kind])

kept(kind, value, wanted) if {
	kind == "enum"
	one_of(value, wanted)
} else if {
	kind == "prefix"
	under(value, wanted)
} else if {
	kind == "max_length"
	not_longer(value, wanted)
} else if {
	kind == "minimum"
	is_number(value)
	value >= wanted
}

present(name) if name in object.keys(input.arguments)

# A tool takes null for an argument that was left out.
given(name) if {
	present(name)
	input.arguments[name] != null
}

# Not named equal: that is what == means to OPA, and the rule would call itself.
same(value, wanted) if value == wanted

# A session whose subject has null there has no scope: nothing is in it, null neither.
scoped(value, wanted) if {
	wanted != null
	value == wanted
}

one_of(value, wanted) if {
	some item in wanted
	item == value
}

at_most(value, limit) if {
	is_number(value)
	value <= limit
}

at_least(value, limit) if {
	is_number(value)
	value >= limit
}

# Characters of a string (regorus counts one beyond U+FFFF as two), items of a list.
not_longer(value, limit) if {
	is_string(value)
	count(value) <= limit
}

not_longer(value, limit) if {
	is_array(value)
	count(value) <= limit
}

under(value, prefix) if {
	is_string(value)
	startswith(value, prefix)
	startswith(trim_prefix(value, prefix), "/") == false
	plain(trim_prefix(value, prefix))
}

# Nothing in it that a file system or a web server might read as a way out: dot segments, empty
# segments, backslashes, control characters, and these encoded or as look-alikes.
plain(path) if regex.match(`(?i)(^|/)\.{1,2}($|[/?#;])|//|\\|%(2e|2f|5c|25|c0|c1|[01][0-9a-f]|7f)|[\x00-\x1f\x7f]|[\x{2024}\x{2025}\x{2215}\x{ff0e}\x{ff0f}\x{ff3c}]`, path) == false

plain_uri(uri) if plain(regex.replace(uri, `^[A-Za-z][A-Za-z0-9+.-]*://`, ""))
