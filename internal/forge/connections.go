package forge

import (
	"context"
	"maps"
	"strings"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
)

var (
	errNoConnection = fault.New(fault.NotFound, "no such git connection")
	errBuiltIn      = fault.New(fault.Conflict, "the built-in connection is the operator's list: it has no token, can't be changed and needs no permission")
)

// CreateConnection makes a connection. Names need not be unique.
func (s *Service) CreateConnection(ctx context.Context, sub access.Subject, p ConnectionParams) (Connection, error) {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return Connection{}, err
	}
	c, err := p.check()
	if err != nil {
		return Connection{}, err
	}
	c.ID, c.CreatedAt = id.New(id.GitConn), db.Time(s.db.Clock().Millis())
	c.UpdatedAt = c.CreatedAt
	if c.sealed, err = s.seal(ctx, c.ID, p.Token); err != nil {
		return Connection{}, err
	}
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := insertConnection(ctx, tx, c); err != nil {
			return err
		}
		return s.recordConnectionTx(ctx, tx, sub, verbCreate, c, nil)
	})
	return c, err
}

func (s *Service) recordConnectionTx(ctx context.Context, tx *db.Tx, sub access.Subject, verb string, c Connection, more map[string]any) error {
	data := map[string]any{"git_connection_id": c.ID, "name": c.Name, "git_provider_type": c.Provider, "host": c.Host}
	maps.Copy(data, more)
	return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{Action: c.Provider.action(verb), Data: data})
}

func place(connectionID string) keeper.Place {
	return keeper.Place{Table: "git_connections", Row: connectionID, Column: "sealed_token"}
}

// seal encrypts a token under the enterprise's key; nil without one.
func (s *Service) seal(ctx context.Context, connectionID string, token secret.String) ([]byte, error) {
	if token.IsZero() {
		return nil, nil
	}
	return s.o.Keeper.Seal(ctx, "", place(connectionID), []byte(strings.TrimSpace(token.Reveal())))
}

func (s *Service) token(ctx context.Context, c Connection) (secret.String, error) {
	if !c.HasToken {
		return secret.String{}, nil
	}
	plain, err := s.o.Keeper.Open(ctx, "", place(c.ID), c.sealed)
	return secret.New(string(plain)), err
}

// Connections gives one page of connections, oldest first. The built-in one is among them once something is in it.
func (s *Service) Connections(ctx context.Context, sub access.Subject, r page.Request) (page.Page[Connection], error) {
	if err := access.Require(sub, access.ViewGitIntegrations, ""); err != nil {
		return page.Page[Connection]{}, err
	}
	rows, err := listConnections(ctx, s.db.Reader(), r)
	if err != nil {
		return page.Page[Connection]{}, err
	}
	return page.Cut(rows, r, func(c Connection) page.Position { return page.Position{c.CreatedAt.UnixMilli(), c.ID} }), nil
}

// Connection reads one connection.
func (s *Service) Connection(ctx context.Context, sub access.Subject, connectionID string) (Connection, error) {
	if err := access.Require(sub, access.ViewGitIntegrations, ""); err != nil {
		return Connection{}, err
	}
	return findConnection(ctx, s.db.Reader(), connectionID)
}

// UpdateConnection changes a connection's name or what goes with its token.
func (s *Service) UpdateConnection(ctx context.Context, sub access.Subject, p ConnectionUpdate) (Connection, error) {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return Connection{}, err
	}
	var sealed []byte
	if p.Token != nil {
		var err error
		if sealed, err = s.seal(ctx, p.ID, *p.Token); err != nil {
			return Connection{}, err
		}
	}
	var c Connection
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if c, err = lockConnection(ctx, tx, p.ID); err != nil {
			return err
		}
		if c.BuiltIn {
			return errBuiltIn
		}
		verb := verbUpdate
		for _, set := range []struct {
			from *string
			to   *string
		}{{p.Name, &c.Name}, {p.Username, &c.Username}, {p.KnownHosts, &c.KnownHosts}} {
			if set.from != nil {
				*set.to = strings.TrimSpace(*set.from)
			}
		}
		var token secret.String
		if p.Token != nil {
			verb, token = verbReconnect, *p.Token
			c.sealed, c.HasToken = sealed, len(sealed) > 0
		}
		if err := c.check(token); err != nil {
			return err
		}
		c.UpdatedAt, c.ListError = db.Time(s.db.Clock().Millis()), ""
		if err := updateConnection(ctx, tx, c); err != nil {
			return err
		}
		return s.recordConnectionTx(ctx, tx, sub, verb, c, map[string]any{"token_changed": p.Token != nil})
	})
	return c, err
}

// DeleteConnection ends a connection with its permissions. Sessions that use its repositories can't clone, fetch or push any more.
func (s *Service) DeleteConnection(ctx context.Context, sub access.Subject, connectionID string) (Connection, error) {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return Connection{}, err
	}
	var c Connection
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if c, err = lockConnection(ctx, tx, connectionID); err != nil {
			return err
		}
		if c.BuiltIn {
			return errBuiltIn
		}
		n, err := removeConnection(ctx, tx, connectionID)
		if err != nil {
			return err
		}
		return s.recordConnectionTx(ctx, tx, sub, verbDelete, c, map[string]any{"permissions_deleted": n})
	})
	return c, err
}
