# What no grant of an agent's role allows and is let through all the same, while the agent is being
# observed: reads and changes. Never what sends or deletes or is of no known class, nothing that is
# denied, and nothing that is granted on terms that do not hold now: somebody has decided on that.
package portcullis

import rego.v1

import data.portcullis.bounds
import data.portcullis.terms

# It ends by the clock, and does not begin sooner than it may last.
observing if {
	agent.observe.from <= input.time
	is_string(input.time)
	terms.before(agent.observe.until)
}

# Also when nobody is observed these are defined.
default observed_rule := ""

observed_rule := agent.observe.rule if observing

observed_by(rule) if {
	rule == agent.observe.rule
	observing
}

observed_reason := concat("", ["not granted by the role ", role_name, ": observed"])

on_some_terms(kind, name) if {
	some entry in role.conditional[kind][name]
	entry
}

observed_tool(tool) := observed_rule if {
	observing
	data.policy.catalogue[tool].observable
	not agent.observe.unbound[tool]
	not on_some_terms("tools", tool)
}

observed_server if {
	observing
	not role.denied_servers[input.server]
}

# Where a server's results are masked or cut, what has neither columns nor records is not read.
observed_readable if {
	observed_server
	not agent.observe.hidden[input.server]
	not agent.observe.hidden["*"]
}

observed_prompt(prompt) if {
	observed_readable
	not on_some_terms("prompts", prompt)
}

observed_resource(resource, uri) if {
	observed_readable
	bounds.plain_uri(uri)
	not on_some_terms("resources", resource)
	count([entry | some entry in role.resources.globs; regex.match(entry.regex, resource)]) == 0
}

observed_other if {
	input.action == "prompt"
	observed_prompt(target)
}

observed_other if {
	input.action == "resource"
	observed_resource(target, input.name)
}

observed_other if {
	input.action == "complete"
	observed_prompt(target)
	observed_resource(target, input.name)
}

observed_other if {
	input.action in {"list", "protocol"}
	observed_server
}

observed_shown(name) if {
	input.kind in {"resources", "resource_templates"}
	observed_resource(qualified(name), name)
}

observed_shown(name) if {
	input.kind == "prompts"
	observed_prompt(qualified(name))
}
