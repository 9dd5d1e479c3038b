package forge

import (
	"context"

	"gantry/internal/platform/fault"
	"gantry/internal/wire"
)

// Use names a session's repository: what a worker asks about.
type Use struct {
	OrgID, SessionID string
	Name             string // as the session calls it
}

// used is a session's repository as it stands now.
type used struct {
	Repository
	connection Connection
	may        rights
}

// taken says that the organization's permission is gone.
func (u used) taken() error {
	return fault.New(fault.Forbidden, "the organization may not use the repository %s any more", u.Name)
}

// find looks a session's repository up again, and what the organization may do with it now. What was removed is an error that says so.
func (s *Service) find(ctx context.Context, u Use, bindings map[string]bound) (used, error) {
	b, ok := bindings[u.Name]
	if !ok {
		b = bound{u.Name, Listed, u.Name}
	}
	gone := fault.New(fault.NotFound, "the repository %s is not listed any more", u.Name)
	c, err := findConnection(ctx, s.db.Reader(), b.connectionID)
	if fault.Is(err, fault.NotFound) {
		return used{}, gone
	}
	if err != nil {
		return used{}, err
	}
	folded := c.Provider.fold(b.path)
	out := used{connection: c, may: rights{allowed: true}}
	if !c.BuiltIn {
		list, err := permissionsOn(ctx, s.db.Reader(), u.OrgID, c.ID)
		if err != nil {
			return used{}, err
		}
		out.may = rightsOf(list, folded)
	}
	rows, err := findIn(ctx, s.db.Reader(), c.ID, []string{folded})
	if err != nil {
		return used{}, err
	}
	r, ok := rows[folded]
	switch {
	case !ok && c.Provider == Plain:
		return used{}, gone
	case !ok: // the provider's list may be younger than the session; git will tell whether it is there
		r = c.unseen(b.path)
	case r.Kind() == File:
		if err := s.stillAllowed(r); err != nil {
			return used{}, err
		}
	}
	r.Name, r.ReadOnly = u.Name, out.may.readOnly
	out.Repository = r
	return out, nil
}

// Spec gives a worker the repositories of a session, by the names that Resolve gave, in their order. One that is gone says so: a worker
// that has its workspace still goes on with what it cloned. Where a permission was taken back, git hears it when it asks for the
// credential; a file needs none, and is gone for the session.
func (s *Service) Spec(ctx context.Context, orgID, sessionID string, names []string) ([]wire.Repository, error) {
	bindings, err := boundOf(ctx, s.db.Reader(), sessionID)
	if err != nil {
		return nil, err
	}
	dirs := directories(names)
	out := make([]wire.Repository, 0, len(names))
	for i, n := range names {
		r := wire.Repository{Name: n, Dir: dirs[i]}
		u, err := s.find(ctx, Use{orgID, sessionID, n}, bindings)
		if err == nil && !u.may.allowed && u.Kind() == File {
			err = u.taken()
		}
		switch {
		case fault.Is(err, fault.NotFound) || fault.Is(err, fault.Forbidden):
			r.Refused = fault.As(err).Message
		case err != nil:
			return nil, err
		default:
			r.URL, r.ReadOnly, r.Credential = u.URL, u.ReadOnly, !u.connection.BuiltIn
		}
		out = append(out, r)
	}
	return out, nil
}

// Credential gives what git needs for one operation on one repository of a session, if the organization may do that now. Nothing is
// what a repository without a credential needs.
func (s *Service) Credential(ctx context.Context, u Use, operation string) (*wire.CredentialReply, error) {
	switch operation {
	case wire.GitClone, wire.GitFetch, wire.GitPush:
	default:
		return nil, fault.InvalidField("operation", "must be %s, %s or %s", wire.GitClone, wire.GitFetch, wire.GitPush)
	}
	bindings, err := boundOf(ctx, s.db.Reader(), u.SessionID)
	if err != nil {
		return nil, err
	}
	r, err := s.find(ctx, u, bindings)
	if err != nil {
		return nil, err
	}
	if !r.may.allowed {
		return nil, r.taken()
	}
	if operation == wire.GitPush && r.ReadOnly {
		return nil, fault.New(fault.Forbidden, "the organization may only read the repository %s", u.Name)
	}
	return s.reply(ctx, r)
}

func (s *Service) reply(ctx context.Context, r used) (*wire.CredentialReply, error) {
	c := r.connection
	token, err := s.token(ctx, c)
	if err != nil || token.IsZero() {
		return &wire.CredentialReply{}, err
	}
	key := isPrivateKey(token.Reveal())
	switch {
	case r.Kind() == SSH && key:
		return &wire.CredentialReply{PrivateKey: token.Reveal() + "\n", KnownHosts: c.KnownHosts}, nil
	case r.Kind() == HTTPS && !key:
		user := c.Username
		if user == "" {
			user = c.family().user
		}
		return &wire.CredentialReply{Username: user, Password: token.Reveal()}, nil
	}
	return &wire.CredentialReply{}, nil // a connection has one token, and this address has another use for none
}
