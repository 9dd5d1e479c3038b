package agents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/secret"
	"gantry/internal/wire"
)

// Add configures an agent under a name that is not taken. With Default it becomes the default.
func (s *Service) Add(ctx context.Context, sub access.Subject, a Agent) (Agent, error) {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return Agent{}, err
	}
	if err := a.validate(); err != nil {
		return Agent{}, err
	}
	sealed, err := s.seal(ctx, a)
	if err != nil {
		return Agent{}, err
	}
	a.CreatedAt = db.Time(s.db.Clock().Millis())
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if a.Default {
			if err := clearDefault(ctx, tx); err != nil {
				return err
			}
		}
		err := insert(ctx, tx, a, sealed)
		if errors.Is(err, db.ErrUnique) {
			return fault.Wrap(err, fault.Conflict, "an agent named %s is configured already", a.Name)
		}
		if err != nil {
			return err
		}
		return s.recordTx(ctx, tx, sub, audit.AddAgent, a.Name)
	})
	return a, err
}

func (s *Service) recordTx(ctx context.Context, tx *db.Tx, sub access.Subject, action audit.Action, name string) error {
	return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{Action: action, Data: map[string]any{"agent": name}})
}

func place(name string) keeper.Place {
	return keeper.Place{Table: "agents", Row: name, Column: "sealed_env"}
}

// seal encrypts the environment under the enterprise's key; nil without one.
func (s *Service) seal(ctx context.Context, a Agent) ([]byte, error) {
	if len(a.Env) == 0 {
		return nil, nil
	}
	plain := make(map[string]string, len(a.Env))
	for k, v := range a.Env {
		plain[k] = v.Reveal()
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	return s.keeper.Seal(ctx, "", place(a.Name), text)
}

// Remove takes an agent away. Sessions that run with it go on; those that must be started again can't be. 409 for the built-in one.
func (s *Service) Remove(ctx context.Context, sub access.Subject, name string) error {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return err
	}
	if name == Runbook {
		return fault.New(fault.Conflict, "%s is built in and stays; another agent can be the default instead of it", Runbook)
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := remove(ctx, tx, name)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNone(name)
		}
		return s.recordTx(ctx, tx, sub, audit.RemoveAgent, name)
	})
}

func errNone(name string) error {
	return fault.New(fault.NotFound, "no agent named %s is configured", name)
}

// SetDefault makes an agent the default; the runbook's name makes it the built-in one again.
func (s *Service) SetDefault(ctx context.Context, sub access.Subject, name string) error {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := clearDefault(ctx, tx); err != nil {
			return err
		}
		if name != Runbook {
			n, err := setDefault(ctx, tx, name)
			if err != nil {
				return err
			}
			if n == 0 {
				return errNone(name)
			}
		}
		return s.recordTx(ctx, tx, sub, audit.UpdateAgent, name)
	})
}

// List gives every agent, the built-in one first. Environments are left out.
func (s *Service) List(ctx context.Context, sub access.Subject) ([]Agent, error) {
	if err := access.Require(sub, access.ManageEnterpriseSettings, ""); err != nil {
		return nil, err
	}
	rows, err := list(ctx, s.db.Reader())
	if err != nil {
		return nil, err
	}
	first := builtin()
	first.Default = !slices.ContainsFunc(rows, func(a Agent) bool { return a.Default })
	return append([]Agent{first}, rows...), nil
}

// Choose finds the agent for a new session: one that the organization may use and that serves the mode, else the default, else the
// runbook. Where several serve a mode, the default comes first, then the name decides. It authorises nobody.
func (s *Service) Choose(ctx context.Context, orgID, mode string) (Agent, error) {
	rows, err := list(ctx, s.db.Reader())
	if err != nil {
		return Agent{}, err
	}
	chosen := builtin()
	found := false
	for _, a := range rows {
		if !a.Allowed(orgID) {
			continue
		}
		serves := mode != "" && slices.Contains(a.Modes, mode)
		if serves && (!found || a.Default) {
			chosen, found = a, true
		}
		if a.Default && !found {
			chosen = a
		}
	}
	return chosen, nil
}

// Spec gives a worker what it starts the agent with, the environment in clear.
func (s *Service) Spec(ctx context.Context, name string) (wire.Agent, error) {
	if name == Runbook {
		return wire.Agent{Name: Runbook}, nil
	}
	a, sealed, err := read(ctx, s.db.Reader(), name)
	if errors.Is(err, db.ErrNone) {
		return wire.Agent{}, errNone(name)
	}
	if err != nil {
		return wire.Agent{}, err
	}
	out := wire.Agent{Name: a.Name, Command: a.Command, Binds: a.Binds, ResumesTurns: true}
	env, err := s.open(ctx, name, sealed)
	for k, v := range env {
		if out.Env == nil {
			out.Env = make(map[string]string, len(env))
		}
		out.Env[k] = v.Reveal()
	}
	return out, err
}

func (s *Service) open(ctx context.Context, name string, sealed []byte) (map[string]secret.String, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	text, err := s.keeper.Open(ctx, "", place(name), sealed)
	if err != nil {
		return nil, fmt.Errorf("environment of agent %s: %w", name, err)
	}
	var plain map[string]string
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, fmt.Errorf("environment of agent %s: %w", name, err)
	}
	env := make(map[string]secret.String, len(plain))
	for k, v := range plain {
		env[k] = secret.New(v)
	}
	return env, nil
}
