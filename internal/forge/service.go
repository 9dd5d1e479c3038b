package forge

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/wire"
)

// Add lists a repository under a name that is not taken. What is listed already under this name changes nothing: whoever starts a
// session on a folder lists it each time.
func (s *Service) Add(ctx context.Context, sub access.Subject, name, rawURL string) (Repository, error) {
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
	r := Repository{Name: name, URL: u, CreatedAt: db.Time(s.db.Clock().Millis())}
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		err := insert(ctx, tx, r)
		if errors.Is(err, db.ErrUnique) {
			return fault.Wrap(err, fault.Conflict, "a repository named %s is listed already", name)
		}
		if err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, r.CreatedAt.UnixMilli(), audit.Entry{
			Action: audit.AddRepository,
			Data:   map[string]any{"repository": r.Name, "url": r.URL},
		})
	})
	if fault.Is(err, fault.Conflict) {
		listed, ferr := findAll(ctx, s.db.Reader(), []string{name})
		if ferr != nil {
			return r, ferr
		}
		if known, ok := listed[name]; ok && known.URL == u {
			return known, nil
		}
	}
	return r, err
}

// Remove takes a repository off the list. Sessions that use it can't be started on a worker any more.
func (s *Service) Remove(ctx context.Context, sub access.Subject, name string) error {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return err
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := remove(ctx, tx, name)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "no repository named %s is listed", name)
		}
		return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{
			Action: audit.RemoveRepository,
			Data:   map[string]any{"repository": name},
		})
	})
}

// List gives one page of repositories by name.
func (s *Service) List(ctx context.Context, sub access.Subject, r page.Request) (page.Page[Repository], error) {
	if err := access.Require(sub, access.ViewGitIntegrations, ""); err != nil {
		return page.Page[Repository]{}, err
	}
	rows, err := list(ctx, s.db.Reader(), r)
	if err != nil {
		return page.Page[Repository]{}, err
	}
	return page.Cut(rows, r, func(x Repository) page.Position { return page.Position{x.Name} }), nil
}

// Resolve finds the repositories that a session names, in their order and each once. A name may carry its host. It authorises
// nobody: who may start a session may name what is listed.
func (s *Service) Resolve(ctx context.Context, names []string) ([]Repository, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var candidates []string
	for _, in := range names {
		n := normalName(in)
		candidates = append(candidates, n)
		if _, rest, ok := splitHost(n); ok {
			candidates = append(candidates, rest)
		}
	}
	known, err := findAll(ctx, s.db.Reader(), candidates)
	if err != nil {
		return nil, err
	}
	var out []Repository
	seen := map[string]bool{}
	for i, in := range names {
		r, ok := pick(known, normalName(in))
		if !ok {
			return nil, fault.InvalidField(fmt.Sprintf("repos.%d", i), "no repository named %q is listed", in)
		}
		if !seen[r.Name] {
			seen[r.Name] = true
			out = append(out, r)
		}
	}
	return out, nil
}

// pick prefers the exact name; with a host in front, the repository of the rest must be on that host.
func pick(known map[string]Repository, name string) (Repository, bool) {
	if r, ok := known[name]; ok {
		return r, true
	}
	host, rest, ok := splitHost(name)
	if !ok {
		return Repository{}, false
	}
	r, ok := known[rest]
	return r, ok && r.Host() == host
}

// Spec gives a worker the repositories of a session, by the names that Resolve gave. A file is checked against the roots again: an
// operator may have taken one off since.
func (s *Service) Spec(ctx context.Context, names []string) ([]wire.Repository, error) {
	known, err := findAll(ctx, s.db.Reader(), names)
	if err != nil {
		return nil, err
	}
	dirs := directories(names)
	out := make([]wire.Repository, 0, len(names))
	for i, n := range names {
		r, ok := known[n]
		if !ok {
			return nil, fault.New(fault.NotFound, "the repository %s is not listed any more", n)
		}
		if r.Kind() == File {
			if err := s.stillAllowed(r); err != nil {
				return nil, err
			}
		}
		out = append(out, wire.Repository{Name: r.Name, URL: r.URL, Dir: dirs[i]})
	}
	return out, nil
}

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
