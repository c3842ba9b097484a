# How Portcullis decides. These rules are the same for every policy; what a policy says stands in
# data.policy (agents, roles, catalogue), and conditions on grants in portcullis.grants.
# Every way to an allow is a rule that must hold: what is undefined is refused. No body assigns
# with := (the engine refuses that): regorus' VM goes on when the right-hand side is undefined.
package portcullis

import rego.v1

import data.portcullis.bounds
import data.portcullis.terms

agent := data.policy.agents[input.principal.id]

role_name := agent.role

role := data.policy.roles[role_name]

agent_current if not agent.expires

agent_current if terms.before(agent.expires.until)

is_agent if input.principal.kind == "agent"

# A session's token acts in its own session, and nobody acts in another agent's.
session_is_own if {
	input.session == null
	input.principal.session == null
}

session_is_own if {
	input.session.agent == input.principal.id
	input.principal.session in {null, input.session.id}
}

# Always defined: engines differ in what "not f(x)" is when x is undefined.
default target := ""

target := concat(".", [input.server, input.name])

listed := data.policy.catalogue[target]

default risk := "delete"

risk := listed.risk if {
	input.action == "tool"
} else := "read" if {
	input.action == "server_request"
	input.name == "ping"
} else := {
	"model": "external",
	"resource": "read",
	"prompt": "read",
	"complete": "read",
	"list": "read",
	"protocol": "read",
	"server_request": "external",
	"egress": egress_risk,
}[input.action]

default egress_risk := "external"

egress_risk := "read" if input.arguments.way == "dns"

refuse(code, reason, rule) := {
	"allow": false,
	"code": code,
	"reason": reason,
	"rule": rule,
	"risk": risk,
}

permit(rule) := granted_by(rule) if {
	not agent.observe
} else := object.union(granted_by(rule), {"observed": true, "reason": observed_reason}) if {
	observed_by(rule)
} else := granted_by(rule)

granted_by(rule) := {
	"allow": true,
	"reason": role.granted,
	"rule": rule,
	"risk": risk,
	"clear": cleared,
	"obligations": obligations,
}

default clear := []

clear := listed.clear if input.action == "tool"

default decision := {
	"allow": false,
	"code": "PC3001",
	"reason": "no rule allows it",
	"rule": "",
	"risk": "delete",
}

decision := refuse("PC2004", "only agents act through the gate", "") if {
	not is_agent
} else := refuse("PC3009", "the policy does not name this agent", "") if {
	not role
} else := refuse("PC3009", "the policy named this agent until it expired", agent.expires.rule) if {
	not agent_current
} else := refuse("PC2006", "the session is not this agent's", "") if {
	not session_is_own
} else := refuse(handwritten_denial.code, handwritten_denial.reason, handwritten_denial.rule) if {
	not handwritten_clear
} else := tool_decision if {
	input.action == "tool"
} else := model_decision if {
	input.action == "model"
} else := egress_decision if {
	input.action == "egress"
} else := permit(grant) if {
	grant
} else := permit(observed_rule) if {
	observed_other
} else := refuse("PC3001", concat("", ["the role ", role_name, " does not grant it"]), "")

# Hand-written packages refuse, whatever else grants it. What says nothing that the policy knows
# refuses as well.
handwritten_clear if count(data.portcullis.handwritten.denials) == 0

handwritten_known := [known |
	some denial in data.portcullis.handwritten.denials
	some known in [data.policy.custom[denial.name][denial.reason]]
]

default handwritten_denial := {"code": "PC3019", "reason": "a hand-written rule denies it", "rule": "custom"}

handwritten_denial := handwritten_known[0] if count(handwritten_known) > 0

# Grants on terms stand beside those that hold always, by what they are of. Any that holds is
# enough, and all that hold oblige.
on_terms(kind, name) := [entry |
	some entry in role.conditional[kind][name]
	terms.hold(entry.terms)
]

# A pattern's entry; without terms it holds always.
applies(entry) if not entry.terms

applies(entry) if terms.hold(entry.terms)

# What verdicts name where something is granted, but on terms that do not hold.
unmet(kind, name) := [rule |
	some entry in role.conditional[kind][name]
	some rule in [terms.missed(entry.terms)]
]

unmet_of(entries) := [rule |
	some entry in entries
	some rule in [terms.missed(entry.terms)]
]

grant_obligations := [one |
	input.action == "tool"
	some entry in target_on_terms
	some one in entry.obligations
]

# Tools: permissions on the resources that the catalogue maps them to, plus allowed, minus denied.

tool_denial(tool) := role.denied_tools[tool] if {
	role.denied_tools[tool]
} else := role.denied_servers[input.server]

# What of the call's own tool is asked more than once: rules, unlike functions, are evaluated once.

target_denial := tool_denial(target)

target_grant := tool_grant(target)

target_unmet := unmet("tools", target)

target_on_terms := on_terms("tools", target)

tool_grant(tool) := role.allowed_tools[tool] if {
	role.allowed_tools[tool]
} else := role.permissions[data.policy.catalogue[tool].verb][data.policy.catalogue[tool].resource] if {
	role.permissions[data.policy.catalogue[tool].verb][data.policy.catalogue[tool].resource]
} else := on_terms("tools", tool)[0].rule if {
	role.conditional.tools[tool]
	count(on_terms("tools", tool)) > 0
} else := observed_tool(tool)

# The grant of a session can only narrow.
in_session_grant(_) if input.session == null

in_session_grant(_) if input.session.grant == null

in_session_grant(tool) if tool in input.session.grant

# What the task declared of the arguments narrows as well. One that is absent is out of bounds: a
# bound on an argument that the tool does not have would hold nothing.
task_held(bound) if {
	bound.kind == "required"
	bounds.given(bound.argument)
}

task_held(bound) if {
	bound.kind == "equals"
	bounds.present(bound.argument)
	bounds.same(input.arguments[bound.argument], bound.value)
}

task_held(bound) if {
	bound.optional == true
	not bounds.present(bound.argument)
}

task_held(bound) if {
	bound.kind == "enum"
	bounds.one_of(input.arguments[bound.argument], bound.value)
}

task_held(bound) if {
	bound.kind == "prefix"
	bounds.under(input.arguments[bound.argument], bound.value)
}

task_held(bound) if {
	bound.kind == "maximum"
	bounds.at_most(input.arguments[bound.argument], bound.value)
}

task_held(bound) if {
	bound.kind == "minimum"
	bounds.at_least(input.arguments[bound.argument], bound.value)
}

task_held(bound) if {
	bound.kind == "max_length"
	bounds.not_longer(input.arguments[bound.argument], bound.value)
}

in_task_bounds if input.session == null

in_task_bounds if {
	is_array(input.session.bounds)
	count([bound | some bound in input.session.bounds; not task_held(bound)]) == 0
}

held := {id |
	some id, bound in listed.bounds
	bounds.held(bound)
}

broken := [bound |
	some bound in listed.bounds
	not bounds.held(bound)
]

needs_session := [bound |
	input.session == null
	some bound in broken
	bound.session
]

out_of_scope := [bound |
	some bound in broken
	bound.session
]

tool_decision := refuse("PC3002", concat("", ["the role ", role_name, " denies this tool"]), target_denial) if {
	target_denial
} else := refuse("PC3001", concat("", ["the role ", role_name, " grants this tool on terms that do not hold"]), target_unmet[0]) if {
	not target_grant
	count(target_unmet) > 0
} else := refuse("PC3001", concat("", ["the role ", role_name, " does not grant this tool"]), "") if {
	not target_grant
} else := refuse("PC3007", "the session's task did not declare this tool", "session.grant") if {
	not input.session == null
	not in_session_grant(target)
} else := refuse("PC3015", "the arguments are not as the session's task declared them", "session.grant") if {
	not in_task_bounds
} else := refuse("PC3029", data_refused[0].reason, data_refused[0].rule) if {
	listed.data
	count(data_refused) > 0
} else := permit(target_grant) if {
	count(broken) == 0
} else := refuse("PC3008", bounds.reason(needs_session[0]), needs_session[0].rule) if {
	count(needs_session) > 0
} else := refuse("PC3004", bounds.reason(out_of_scope[0]), out_of_scope[0].rule) if {
	count(out_of_scope) > 0
} else := refuse("PC3012", bounds.reason(broken[0]), broken[0].rule) if {
	count(broken) > 0
}

# Models, and what a provider would do or fetch where no check sees it.

models_named := [entry |
	some entry in role.models
	regex.match(entry.regex, input.name)
]

model_grants := [entry.rule |
	some entry in models_named
	applies(entry)
]

feature_granted(feature) if role.provider_features[feature]

feature_granted(feature) if count(on_terms("features", feature)) > 0

refused_features := [feature |
	some feature in input.features
	not feature_granted(feature)
]

model_decision := refuse("PC3005", concat("", ["the role ", role_name, " lists this model on terms that do not hold"]), unmet_of(models_named)[0]) if {
	count(model_grants) == 0
	count(unmet_of(models_named)) > 0
} else := refuse("PC3005", concat("", ["the role ", role_name, " does not list this model"]), "") if {
	count(model_grants) == 0
} else := refuse("PC3006", concat("", ["provider_features do not name ", refused_features[0]]), "") if {
	count(refused_features) > 0
} else := permit(model_grants[0]) if {
	count(refused_features) == 0
}

# Egress: where an agent may go over the network, and within what is read, by method and path. Of
# the rules whose host matches, only those of the narrowest pattern count.

egress_hosts := [rule |
	some rule in role.egress
	regex.match(rule.host, input.arguments.host)
]

egress_narrowest := [rule |
	some rule in egress_hosts
	count([other | some other in egress_hosts; other.rank > rule.rank]) == 0
]

# A narrow rule whose terms do not hold does not give way to a wider one.
egress_held := [rule |
	some rule in egress_narrowest
	applies(rule)
]

egress_ports := [rule |
	some rule in egress_held
	input.arguments.port in rule.ports
]

egress_requests := [rule |
	some rule in egress_ports
	egress_scheme(rule)
	egress_method(rule)
	egress_path(rule)
]

# Where nothing of a tunnel is read, a rule that asks what is in it does not let it through.
egress_tunnels := [rule |
	some rule in egress_ports
	egress_tunnel(rule)
]

egress_tunnel(rule) if rule.terminate

egress_tunnel(rule) if {
	rule.methods == null
	rule.paths == null
}

egress_scheme(_) if input.arguments.scheme == "https"

egress_scheme(rule) if {
	input.arguments.scheme == "http"
	rule.plain
}

egress_method(rule) if rule.methods == null

egress_method(rule) if input.arguments.method in rule.methods

egress_path(rule) if rule.paths == null

egress_path(rule) if {
	some path in rule.paths
	regex.match(path, input.arguments.path)
}

egress_terms(rule) := {
	"terminate": rule.terminate,
	"plain": rule.plain,
	"inject": rule.inject,
}

permit_egress(rule) := object.union(permit(rule.rule), {"egress": egress_terms(rule)})

egress_decision := refuse("PC3016", concat("", ["the role ", role_name, " may not reach this host"]), "") if {
	count(egress_narrowest) == 0
} else := refuse("PC3016", concat("", ["the role ", role_name, " may reach this host on terms that do not hold"]), unmet_of(egress_narrowest)[0]) if {
	count(egress_held) == 0
} else := permit_egress(egress_held[0]) if {
	input.arguments.way == "dns"
} else := refuse("PC3017", concat("", ["the role ", role_name, " may not reach this port of the host"]), egress_held[0].rule) if {
	count(egress_ports) == 0
} else := permit_egress(egress_tunnels[0]) if {
	input.arguments.way == "connect"
	count(egress_tunnels) > 0
} else := permit_egress(egress_requests[0]) if {
	input.arguments.way == "request"
	count(egress_requests) > 0
} else := refuse("PC3018", concat("", ["the role ", role_name, " may not ask this of the host"]), egress_ports[0].rule)

# Everything else that an MCP server offers or asks.

resource_globs(resource) := [entry.rule |
	some entry in role.resources.globs
	regex.match(entry.regex, resource)
	applies(entry)
]

resource_grant(resource, uri) := role.resources.exact[resource] if {
	role.resources.exact[resource]
} else := on_terms("resources", resource)[0].rule if {
	count(on_terms("resources", resource)) > 0
} else := resource_globs(resource)[0] if {
	bounds.plain_uri(uri)
}

prompt_grant(prompt) := role.prompts[prompt] if {
	role.prompts[prompt]
} else := on_terms("prompts", prompt)[0].rule

reach_grant := role.reach[input.server] if {
	role.reach[input.server]
} else := on_terms("reach", input.server)[0].rule

grant := resource_grant(target, input.name) if input.action == "resource"

grant := prompt_grant(target) if input.action == "prompt"

grant := complete_grant if input.action == "complete"

complete_grant := prompt_grant(target) if {
	prompt_grant(target)
} else := resource_grant(target, input.name)

grant := reach_grant if input.action in {"list", "protocol"}

grant := server_request_grant if input.action == "server_request"

server_request_grant := reach_grant if {
	input.name == "ping"
} else := role.server_requests[target] if {
	role.server_requests[target]
} else := on_terms("requests", target)[0].rule

# What an agent is shown of a server: whatever some call of its could be allowed.

visible := [name |
	is_agent
	agent_current
	session_is_own
	some name in input.names
	shown(name)
]

shown(name) if {
	input.kind == "tools"
	tool_shown(qualified(name))
}

shown(name) if {
	input.kind != "tools"
	other_shown(name)
}

tool_shown(tool) if {
	tool_grant(tool)
	not tool_denial(tool)
	in_session_grant(tool)
}

other_shown(name) if {
	input.kind in {"resources", "resource_templates"}
	resource_grant(qualified(name), name)
}

other_shown(name) if {
	input.kind == "prompts"
	prompt_grant(qualified(name))
}

# Defined elsewhere under a name of its own: regorus' interpreter mixes up the parameters of one
# function that two modules define.
other_shown(name) if observed_shown(name)

qualified(name) := concat(".", [input.server, name])

# What is done with what inspection finds. Undefined is the strictest there is.

profile := role.inspection
