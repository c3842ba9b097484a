# The terms of a grant: environments, until, during, when. A grant holds when all of its terms do;
# a term that it does not name is null. What cannot be evaluated does not hold.
package portcullis.terms

import rego.v1

hold(terms) if {
	timely(terms)
	met(terms.when)
}

# Of a list, what counts is whether some call could be granted, whatever its arguments.
hold(terms) if {
	is_string(input.kind)
	timely(terms)
	met(terms.shown)
}

timely(terms) if {
	placed(terms)
	lasting(terms)
	in_window(terms)
}

placed(terms) if terms.environments == null

placed(terms) if input.environment in terms.environments

lasting(terms) if terms.until == null

lasting(terms) if before(terms.until)

# Instants are texts that sort as time does.
before(instant) if {
	is_string(input.time)
	input.time < instant
}

in_window(terms) if terms.during == null

in_window(terms) if terms.during in input.windows

met(condition) if condition == null

met(condition) if data.portcullis.grants[condition]

# The first term that does not hold: what verdicts name.
missed(terms) := terms.rules.environments if {
	not placed(terms)
} else := terms.rules.until if {
	not lasting(terms)
} else := terms.rules.during if {
	not in_window(terms)
} else := terms.rules.when if {
	not met(terms.when)
}
