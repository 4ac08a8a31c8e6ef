package remediation

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// maxMachines bounds the state machines of a policy: each event of theirs is compared
// with all.
const maxMachines = 100

// machines decodes a mapping from names to state machines.
func (d *configDecoder) machines(n *yaml.Node, at configPlace) []StateMachine {
	var all []StateMachine
	d.members(n, configScope{path: "state_machines.", name: "state_machines.", in: "state_machines"}, func(k, v *yaml.Node) {
		m := StateMachine{Name: k.Value, Timeout: DefaultRunTimeout}
		path := at.path + "." + shorten(k.Value)
		if _, f := parseLine(k.Value); f != nil {
			d.fault(k.Line, path, "state_machines: "+f.problem, f.hint)
		}
		d.object(v, configScope{path: path + ".", name: path + ".", in: path}, d.machineFields(&m))
		same := slices.IndexFunc(all, func(o StateMachine) bool { return o.ARN == m.ARN })
		switch {
		case v.Kind == yaml.MappingNode && !hasKey(v, "arn"):
			d.fault(k.Line, path+".arn", path+" has no arn", "say which state machine it is")
		case m.ARN != "" && same >= 0:
			d.fault(k.Line, path+".arn", fmt.Sprintf("%s is the same state machine as %s", path, quote(all[same].Name)), "keep one of the names")
		}
		all = append(all, m)
	})
	if len(all) > maxMachines {
		d.fault(n.Line, at.path, fmt.Sprintf("there are %d state machines", len(all)), fmt.Sprintf("at most %d are taken", maxMachines))
	}
	return all
}

func (d *configDecoder) machineFields(m *StateMachine) []configField {
	return []configField{
		{"arn", setOne(d, &m.ARN, textNode(parseMachine))},
		{"timeout", setOne(d, &m.Timeout, textNode(parseRunTimeout))},
		{"approvers", setMany(d, &m.Approvers, textNode(parseResponder))},
		{"channel", setOne(d, &m.Channel, textNode(parseChannel))},
	}
}

// started refuses rules that have a state machine started which is not listed, or
// where nothing is to be done.
func (d *configDecoder) started(c *Config) {
	var names []string
	for _, m := range c.StateMachines {
		names = append(names, m.Name)
	}
	for i, r := range c.Rules {
		key := ruleScope(i+1).path + "state_machine"
		switch {
		case r.StateMachine == "":
		case !slices.Contains(names, r.StateMachine):
			d.fault(r.Line, key, fmt.Sprintf("rule %d: there is no state machine %s", i+1, quote(r.StateMachine)), "list it under state_machines, with its arn"+chooseAmong(r.StateMachine, names))
		case r.Then == ActionNotify || r.Then == ActionIgnore:
			d.fault(r.Line, key, fmt.Sprintf("rule %d has a state machine started, and then: %s, which does nothing", i+1, r.Then), "write then: auto or then: ask, or leave state_machine out")
		}
	}
}

// chooseAmong is a hint at what there is; empty where there is nothing.
func chooseAmong(name string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	return "; " + choose(name, known)
}
