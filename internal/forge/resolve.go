package forge

import (
	"context"
	"fmt"
	"strings"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// reading is one way to read what a session calls a repository: a path, with a host when the name has one before it.
type reading struct{ host, path string }

// readings gives the ways to read a name. The whole of it may be a path.
func readings(in string) []reading {
	n := normalName(in)
	out := []reading{{"", n}}
	if host, rest, ok := splitHost(n); ok {
		out = append(out, reading{host, rest})
	}
	return out
}

// candidate is a repository that a name may mean.
type candidate struct {
	Repository
	connection Connection
	folded     string
	order      int // of the connection's age
}

// Resolve finds the repositories that a session of an organization names, in their order and each once. A name may carry its host. What
// the organization may not use answers like what isn't there. A bare name means the operator's list first.
func (s *Service) Resolve(ctx context.Context, orgID string, names []string) ([]Repository, error) {
	if len(names) == 0 {
		return nil, nil
	}
	r, err := s.resolver(ctx, orgID, names)
	if err != nil {
		return nil, err
	}
	var out []Repository
	seen, taken := map[string]bool{}, map[string]bool{}
	for i, in := range names {
		c, err := r.find(ctx, i, in)
		if err != nil {
			return nil, err
		}
		key := c.connection.ID + "\x00" + c.folded
		if seen[key] {
			continue
		}
		seen[key] = true
		if taken[c.Name] { // two hosts have a repository of this path
			c.Name = c.connection.shownHost(c.Repository) + "/" + c.Path
		}
		taken[c.Name] = true
		out = append(out, c.Repository)
	}
	return out, nil
}

// resolver holds what an organization may use while its names are looked up.
type resolver struct {
	s           *Service
	connections []Connection // oldest first
	permissions map[string][]Permission
	listed      map[string]Repository
	asked       map[string]bool
}

func (s *Service) resolver(ctx context.Context, orgID string, names []string) (*resolver, error) {
	r := &resolver{s: s, permissions: map[string][]Permission{}, asked: map[string]bool{}}
	var err error
	if r.connections, err = s.reachable(ctx, orgID); err != nil {
		return nil, err
	}
	all, err := allPermissions(ctx, s.db.Reader(), orgID)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		r.permissions[p.ConnectionID] = append(r.permissions[p.ConnectionID], p)
	}
	var paths []string
	for _, in := range names {
		for _, read := range readings(in) {
			paths = append(paths, read.path)
		}
	}
	r.listed, err = findIn(ctx, s.db.Reader(), Listed, paths)
	return r, err
}

// find gives the repository that a name means.
func (r *resolver) find(ctx context.Context, i int, in string) (candidate, error) {
	field := fmt.Sprintf("repos.%d", i)
	unlisted := fault.InvalidField(field, "no repository named %q is listed", in)
	var found []candidate
	for _, read := range readings(in) {
		if c, ok := r.listed[read.path]; ok && (read.host == "" || c.Host() == read.host) {
			found = append(found, candidate{Repository: c, connection: Connection{ID: Listed, Provider: Plain, BuiltIn: true}, folded: c.Path, order: -1})
		}
		more, err := r.granted(ctx, read)
		if err != nil {
			return candidate{}, err
		}
		found = append(found, more...)
	}
	if len(found) == 0 {
		return candidate{}, unlisted
	}
	best := found[0]
	for _, c := range found[1:] {
		if c.better(best) {
			best = c
		}
	}
	for _, c := range found {
		if !best.connection.BuiltIn && !c.connection.BuiltIn && c.connection.shownHost(c.Repository) != best.connection.shownHost(best.Repository) {
			return candidate{}, fault.InvalidField(field, "%q is on several hosts: write HOST/%s", in, best.Path)
		}
	}
	return best, nil
}

// better says which of two repositories a name means. The operator's list comes first, unless a connection has the same host and with it
// a credential; then what may be written; then the older connection.
func (c candidate) better(than candidate) bool {
	if c.connection.BuiltIn != than.connection.BuiltIn {
		builtIn, other := c, than
		if than.connection.BuiltIn {
			builtIn, other = than, c
		}
		same := builtIn.Host() != "" && builtIn.Host() == other.Host()
		return c.connection.BuiltIn != same
	}
	if c.ReadOnly != than.ReadOnly {
		return than.ReadOnly
	}
	return c.order < than.order
}

// granted looks through the connections that the organization has permissions on.
func (r *resolver) granted(ctx context.Context, read reading) ([]candidate, error) {
	var out []candidate
	for i, c := range r.connections {
		list := r.permissions[c.ID]
		if c.BuiltIn || (read.host != "" && read.host != c.hostname()) {
			continue
		}
		folded := c.Provider.fold(read.path)
		may := rightsOf(list, folded)
		if !may.allowed || badPath(ScopeRepo, read.path) != "" {
			continue
		}
		repo, ok, err := r.known(ctx, c, read.path, folded, may.exact)
		if err != nil {
			return nil, err
		}
		if ok {
			repo.ReadOnly = may.readOnly
			out = append(out, candidate{Repository: repo, connection: c, folded: folded, order: i})
		}
	}
	return out, nil
}

// known finds a repository that the organization may use in what its connection shows. What a permission names itself needn't be shown:
// not every token may list. For what a group or a prefix covers, the provider is asked once more before it is said not to be there.
func (r *resolver) known(ctx context.Context, c Connection, path, folded string, exact bool) (Repository, bool, error) {
	for {
		rows, err := findIn(ctx, r.s.db.Reader(), c.ID, []string{folded})
		if err != nil {
			return Repository{}, false, err
		}
		if repo, ok := rows[folded]; ok {
			return repo, repo.Kind() != File || r.s.below(repo), nil
		}
		if c.family().list == nil || r.asked[c.ID] {
			return Repository{}, false, nil
		}
		if exact {
			return c.unseen(path), true, nil
		}
		r.asked[c.ID] = true
		if !c.ListedAt.IsZero() && r.s.db.Clock().Since(c.ListedAt) < retryListing {
			return Repository{}, false, nil
		}
		if _, err := r.s.await(ctx, c); err != nil {
			if c.ListedAt.IsZero() {
				return Repository{}, false, err // nobody knows yet what there is
			}
			return Repository{}, false, nil
		}
	}
}

// unseen makes a repository of a path that the provider hasn't shown.
func (c Connection) unseen(path string) Repository {
	return Repository{Name: path, Path: path, ConnectionID: c.ID, URL: c.family().clone(c.base(), path)}
}

// BindTx notes which connection's repositories a session means, so that another one of the same path can't take a name's place.
func (s *Service) BindTx(ctx context.Context, tx *db.Tx, sessionID string, repos []Repository) error {
	for _, r := range repos {
		if _, err := db.Exec(ctx, tx, `INSERT INTO session_git (session_id, repo, git_connection_id, path) VALUES ($1, $2, $3, $4)`,
			sessionID, r.Name, r.ConnectionID, r.Path); err != nil {
			return err
		}
	}
	return nil
}

func lowered(list []string) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = strings.ToLower(v)
	}
	return out
}
