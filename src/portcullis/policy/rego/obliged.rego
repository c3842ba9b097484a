# What a grant obliges to, and which data a call may reach. Obligations of the tool, the role and
# the grant add up. A tool's data: says where a call and its result show what they are of, a role's
# data_access which of it the role may reach; what that does not name is refused.
package portcullis

import rego.v1

# Most calls owe nothing, and are not asked about one obligation after the other.
default owing := false

owing if {
	input.action == "tool"
	listed.owing
}

owing if {
	input.action == "tool"
	role.owing
}

owing if {
	input.action == "tool"
	role.conditional.tools[target]
	count(grant_obligations) > 0
}

obliged := [one |
	some part in [
		[one | some one in listed.obligations],
		[one | some one in role.obligations],
		grant_obligations,
	]
	some one in part
]

# No bare loop stands in a body with an else behind it: regorus' VM does not get to that.
default approvers := 0

approvers := 2 if {
	count([one | some one in people_wanted; one == 2]) > 0
} else := 1 if {
	count([one | some one in people_wanted; one == 1]) > 0
}

people_wanted := [number |
	some part in [
		[one.approvers | some one in obliged],
		[pair[1] | some one in obliged; some pair in one.by_risk; pair[0] == risk],
	]
	some number in part
]

row_scopes := [{"name": binding.name, "paths": binding.paths, "values": in_reach(binding)} |
	input.action == "tool"
	some binding in listed.data
	count(binding.paths) > 0
	not all_in_reach(binding)
]

default obligations := null

obligations := {
	"mask": [column | some one in obliged; some column in one.mask],
	"log": [name | some one in obliged; some name in one.log],
	"approvers": approvers,
	"rows": row_scopes,
	"by_risk": [pair | some one in obliged; some pair in one.by_risk],
} if {
	owing
	count(obliged) + count(row_scopes) > 0
}

cleared := clear if {
	obligations == null
} else := [name |
	some part in [clear, [name | some one in obliged; some name in one.log]]
	some name in part
]

# Data access. A value is in reach when the role's data_access names it, by itself, by what stands
# in the session, or by the class that the value belongs to.

all_in_reach(binding) if {
	binding.classed == false
	role.data_access[binding.name].any == true
}

in_reach(binding) := [value | some one in binding.classes; role.data_access[one.of].any == true; some value in [one.value]] if {
	binding.classed
} else := [value |
	some part in [
		[value | some value in role.data_access[binding.name].values],
		[value | some value in session_values(binding)],
	]
	some value in part
]

session_values(binding) := [value |
	input.session != null
	some path in role.data_access[binding.name].session
	some value in [object.get(input.session, path, null)]
	data_named(value)
]

# An empty text names nothing: many tools take it for everything.
data_named(value) if {
	is_string(value)
	value != ""
}

data_named(value) if is_number(value)

data_known(binding, value) if {
	data_named(value)
	value in in_reach(binding)
}

data_asked(binding) := object.get(input.arguments, binding.argument, null)

# An argument that asks for everything: there, and neither null nor false.
data_whole(binding) if {
	count(binding.everything) > 0
	some said in [object.get(input.arguments, binding.everything, null)]
	not said in {null, false}
}

data_held(binding) if binding.asks == "results"

data_held(binding) if all_in_reach(binding)

data_held(binding) if {
	binding.asks == "fixed"
	data_known(binding, binding.fixed)
}

data_held(binding) if {
	binding.asks == "argument"
	not data_whole(binding)
	data_known(binding, data_asked(binding))
}

data_held(binding) if {
	binding.asks == "argument"
	not data_whole(binding)
	is_array(data_asked(binding))
	count(data_asked(binding)) > 0
	count([value | some value in data_asked(binding); not data_known(binding, value)]) == 0
}

data_refused := [binding |
	input.action == "tool"
	some binding in listed.data
	not data_held(binding)
]
