// Package agents knows which agents sessions may run with.
//
// An agent is a name and a command that speaks ACP, with its environment, the host paths it may read, the devin_mode values it
// serves and the organizations that may use it. The built-in runbook needs none of that: it always exists, and it is the default
// until another is made the default.
package agents

import (
	"slices"
	"strings"
	"time"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/pattern"
	"gantry/internal/platform/secret"
	"gantry/internal/wire"
)

// Runbook is the name of the built-in agent.
const Runbook = "runbook"

// Agent is a configured agent. Orgs nil means every organization. Env isn't filled by List and Choose.
type Agent struct {
	Name      string
	Command   []string
	Env       map[string]secret.String
	Binds     []string
	Modes     []string
	Orgs      []string
	Default   bool
	CreatedAt time.Time
}

func builtin() Agent { return Agent{Name: Runbook, Default: true} }

// Allowed reports whether the organization may use the agent.
func (a Agent) Allowed(orgID string) bool { return a.Orgs == nil || slices.Contains(a.Orgs, orgID) }

// Modes are the devin_mode values of the contract.
var Modes = []string{"normal", "fast", "lite", "ultra", "fusion"}

// Service holds the use cases.
type Service struct {
	db     *db.DB
	keeper *keeper.Keeper
}

// New makes the service.
func New(d *db.DB, k *keeper.Keeper) *Service { return &Service{db: d, keeper: k} }

var (
	goodName = pattern.Of(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	goodEnv  = pattern.Of(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (a Agent) validate() error {
	if !goodName().MatchString(a.Name) {
		return fault.InvalidField("name", "must have 1 to 64 letters, digits, '.', '_' or '-'")
	}
	if a.Name == Runbook {
		return fault.InvalidField("name", "%s is the built-in agent", Runbook)
	}
	if len(a.Command) == 0 || a.Command[0] == "" {
		return fault.InvalidField("command", "must name a program")
	}
	for _, c := range a.Command {
		if !db.Storable(c) {
			return fault.InvalidField("command", "must be text")
		}
	}
	for name, v := range a.Env {
		if !goodEnv().MatchString(name) || strings.ContainsRune(v.Reveal(), 0) {
			return fault.InvalidField("env", "%q can't be a variable", name)
		}
	}
	for _, b := range a.Binds {
		if err := wire.CheckBind(b); err != nil {
			return fault.InvalidField("binds", "%s", err)
		}
	}
	for _, m := range a.Modes {
		if !slices.Contains(Modes, m) {
			return fault.InvalidField("modes", "%q must be one of %s", m, strings.Join(Modes, ", "))
		}
	}
	if a.Orgs != nil && len(a.Orgs) == 0 {
		return fault.InvalidField("orgs", "must be left out or name at least one organization")
	}
	return nil
}
