package forge

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// Add lists a repository of a plain connection, under a name that is not taken there. What is listed already under this name changes
// nothing: whoever starts a session on a folder lists it each time.
func (s *Service) Add(ctx context.Context, sub access.Subject, connectionID, name, rawURL string) (Repository, error) {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return Repository{}, err
	}
	if err := checkName(name); err != nil {
		return Repository{}, err
	}
	u, err := s.canonical(rawURL)
	if err != nil {
		return Repository{}, err
	}
	r := Repository{Name: name, Path: name, URL: u, ConnectionID: connectionID, ProviderID: name, CreatedAt: db.Time(s.db.Clock().Millis())}
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		c, err := findConnection(ctx, tx, connectionID)
		if err != nil {
			return err
		}
		if err := c.takes(r); err != nil {
			return err
		}
		err = insert(ctx, tx, r)
		if errors.Is(err, db.ErrUnique) {
			return fault.Wrap(err, fault.Conflict, "a repository named %s is listed already", name)
		}
		if err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, r.CreatedAt.UnixMilli(), audit.Entry{
			Action: audit.AddRepository,
			Data:   map[string]any{"repository": r.Name, "url": r.URL, "git_connection_id": connectionID},
		})
	})
	if fault.Is(err, fault.Conflict) {
		listed, ferr := findIn(ctx, s.db.Reader(), connectionID, []string{name})
		if ferr != nil {
			return r, ferr
		}
		if known, ok := listed[name]; ok && known.URL == u {
			return known, nil
		}
	}
	return r, err
}

// takes checks that a repository may be listed in a connection: its credential must not go to another host.
func (c Connection) takes(r Repository) error {
	switch {
	case c.Provider != Plain:
		return fault.New(fault.Conflict, "the provider lists this connection's repositories")
	case !c.BuiltIn && r.ShownHost() != c.hostname():
		return fault.InvalidField("url", "must be on the connection's host %s", c.Host)
	}
	return nil
}

// Remove takes a repository off a plain connection's list. Sessions that use it can't clone it any more.
func (s *Service) Remove(ctx context.Context, sub access.Subject, connectionID, name string) error {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		c, err := findConnection(ctx, tx, connectionID)
		if err != nil {
			return err
		}
		if c.Provider != Plain {
			return fault.New(fault.Conflict, "the provider lists this connection's repositories")
		}
		n, err := remove(ctx, tx, connectionID, name)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "no repository named %s is listed", name)
		}
		return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{
			Action: audit.RemoveRepository,
			Data:   map[string]any{"repository": name, "git_connection_id": connectionID},
		})
	})
}

// List gives one page of the built-in connection's repositories by name.
func (s *Service) List(ctx context.Context, sub access.Subject, r page.Request) (page.Page[Repository], error) {
	l, err := s.ConnectionRepositories(ctx, sub, ListingParams{ConnectionID: Listed, Page: r})
	return l.Page, err
}

// UsableParams ask for the repositories that an organization may use.
type UsableParams struct {
	OrgID         string
	Page          page.Request
	Name          string   // part of the path, whatever the case
	Only, Exclude []string // paths
}

// UsableRepository is a repository that an organization may use, with the host it is shown under.
type UsableRepository struct {
	Repository
	Host string
}

// Usable gives one page of what an organization may use: the operator's list, and what its permissions cover of what the providers
// show, by connection and path. A repository that a permission names and the provider doesn't show may be used, and isn't here.
func (s *Service) Usable(ctx context.Context, sub access.Subject, p UsableParams) (page.Page[UsableRepository], error) {
	none := page.Page[UsableRepository]{}
	if err := access.Require(sub, access.ViewOrgRepositories, p.OrgID); err != nil {
		return none, err
	}
	connections, err := s.reachable(ctx, p.OrgID)
	if err != nil {
		return none, err
	}
	f := filter{OrgID: p.OrgID, Name: p.Name, Only: lowered(p.Only), Exclude: lowered(p.Exclude)}
	var from, after any
	if p.Page.After != nil {
		from, after = p.Page.After[0], p.Page.After[1]
	}
	var rows []UsableRepository
	for _, c := range connections { // a handful, each read in the order of its index
		if from != nil && c.ID < from.(string) { //nolint:forcetypeassert // the cursor is sealed
			continue
		}
		if from != c.ID {
			after = nil
		}
		if after == nil && p.Page.After == nil {
			if c, err = s.look(ctx, c, true); fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Conflict) {
				err = nil // the other connections are there, and this one says elsewhere what it lacks
			}
			if err != nil {
				return none, err
			}
		}
		part, err := f.within(ctx, s.db.Reader(), c.ID, after, p.Page.Limit()-len(rows))
		if err != nil {
			return none, err
		}
		rows = slices.Grow(rows, len(part))
		for _, r := range part {
			rows = append(rows, UsableRepository{Repository: r, Host: c.shownHost(r)})
		}
		if len(rows) >= p.Page.Limit() {
			break
		}
	}
	return page.Cut(rows, p.Page, func(r UsableRepository) page.Position { return page.Position{r.ConnectionID, r.folded} }), nil
}

// shownHost is the host that a repository is shown under.
func (c Connection) shownHost(r Repository) string {
	if c.Provider == Plain {
		return r.ShownHost()
	}
	return c.Host
}

// ShownHost is the host that one of the listing's repositories is shown under.
func (l Listing) ShownHost(r Repository) string { return l.Connection.shownHost(r) }

// reachable gives the connections that an organization may use anything of, by id.
func (s *Service) reachable(ctx context.Context, orgID string) ([]Connection, error) {
	return db.All(ctx, s.db.Reader(), scanConnection, `SELECT `+connectionColumns+` FROM git_connections WHERE built_in = 1 OR git_connection_id IN
		(SELECT git_connection_id FROM git_permissions WHERE org_id = $1) ORDER BY git_connection_id`, orgID)
}

// below reports whether a file is still below a listed root.
func (s *Service) below(r Repository) bool { return s.stillAllowed(r) == nil }

func (s *Service) stillAllowed(r Repository) error {
	u, err := url.Parse(r.URL)
	if err == nil {
		_, err = s.file(u.Path)
	}
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "the repository %s is not there, or not below a listed root any more", r.Name)
	}
	return nil
}
