# The tests of conditions (`when:`) and their opposites. A value of another type, or none, is
# neither: no rule here holds of it, and nothing is converted.
package portcullis.values

import rego.v1

import data.portcullis.bounds

alike(value, wanted) if {
	is_string(value)
	is_string(wanted)
	value == wanted
}

alike(value, wanted) if {
	is_number(value)
	is_number(wanted)
	value == wanted
}

alike(value, wanted) if {
	is_boolean(value)
	is_boolean(wanted)
	value == wanted
}

unlike(value, wanted) if {
	is_string(value)
	is_string(wanted)
	value != wanted
}

unlike(value, wanted) if {
	is_number(value)
	is_number(wanted)
	value != wanted
}

unlike(value, wanted) if {
	is_boolean(value)
	is_boolean(wanted)
	value != wanted
}

below(value, limit) if {
	is_number(value)
	is_number(limit)
	value < limit
}

at_most(value, limit) if {
	is_number(value)
	is_number(limit)
	value <= limit
}

above(value, limit) if {
	is_number(value)
	is_number(limit)
	value > limit
}

at_least(value, limit) if {
	is_number(value)
	is_number(limit)
	value >= limit
}

among(value, list) if {
	is_array(list)
	some item in list
	alike(value, item)
}

# Every item is of the value's type, and none is the value.
apart(value, list) if {
	scalar(value)
	is_array(list)
	count([item | some item in list; not unlike(value, item)]) == 0
}

scalar(value) if is_string(value)

scalar(value) if is_number(value)

scalar(value) if is_boolean(value)

# What begins so but may lead out of there (see bounds.plain) does neither.
begins(value, prefix) if bounds.under(value, prefix)

begins_otherwise(value, prefix) if {
	is_string(value)
	startswith(value, prefix) == false
	contains(prefix, "/") == false
}

# And what may lead in there by another way is not elsewhere.
begins_otherwise(value, prefix) if {
	is_string(value)
	startswith(value, prefix) == false
	contains(prefix, "/")
	bounds.plain_uri(value)
}

fits(value, pattern) if {
	is_string(value)
	regex.match(pattern, value)
}

misfits(value, pattern) if {
	is_string(value)
	regex.match(pattern, value) == false
}

# Items of a list, members of an object.
size(value) := count(value) if is_array(value)

size(value) := count(value) if is_object(value)
