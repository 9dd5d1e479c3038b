package forge

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gantry/internal/platform/fault"
)

// Scope says what a permission's value names.
type Scope string

// The scopes (contract/behaviour.md §9.2).
const (
	// ScopeRepo is one repository by its whole path.
	ScopeRepo Scope = "repo"
	// ScopeGroup is a namespace: everything below it. It ends where a path's segment ends, so acme/sh is no group of acme/shop.
	ScopeGroup Scope = "group"
	// ScopePrefix is everything whose path begins so, wherever that ends.
	ScopePrefix Scope = "prefix"
)

// Permission lets an organization use part of a connection.
type Permission struct {
	ID           string
	OrgID        string
	ConnectionID string
	Scope        Scope
	Value        string // a group's is without the slash at its end
	ReadOnly     bool
	CreatedAt    time.Time

	folded string
}

// matches reports whether a permission covers a folded path.
func (p Permission) matches(folded string) bool {
	if p.Scope == ScopeRepo {
		return folded == p.folded
	}
	return strings.HasPrefix(folded, p.folded)
}

// PermissionParams is one permission to make: exactly one of the three scopes is not nil.
type PermissionParams struct {
	ConnectionID string
	RepoPath     *string
	GroupPrefix  *string
	PrefixPath   *string
	ReadOnly     bool
}

const (
	// maxPermissions is how many one call may make (contract/v3-rules.md, git permissions).
	maxPermissions = 200
	maxPath        = 1024
)

// checkPermissions checks a bulk body. A permission that is in it twice is refused: which of the two would count?
func checkPermissions(list []PermissionParams) ([]Permission, error) {
	if len(list) > maxPermissions {
		return nil, fault.InvalidField("permissions", "must be at most %d", maxPermissions)
	}
	out := make([]Permission, len(list))
	for i, p := range list {
		var err error
		if out[i], err = p.check(fmt.Sprintf("permissions.%d", i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p PermissionParams) check(at string) (Permission, error) {
	out := Permission{ConnectionID: p.ConnectionID, ReadOnly: p.ReadOnly}
	given := 0
	for _, s := range []struct {
		scope Scope
		name  string
		value *string
	}{{ScopeRepo, "repo_path", p.RepoPath}, {ScopeGroup, "group_prefix", p.GroupPrefix}, {ScopePrefix, "prefix_path", p.PrefixPath}} {
		if s.value == nil {
			continue
		}
		given++
		out.Scope, out.Value = s.scope, *s.value
		if why := badPath(s.scope, *s.value); why != "" {
			return out, fault.InvalidField(at+"."+s.name, "%s", why)
		}
	}
	if given != 1 {
		return out, fault.InvalidField(at, "must have exactly one of repo_path, group_prefix and prefix_path")
	}
	return out, nil
}

func badPath(s Scope, v string) string {
	segments := strings.Split(v, "/")
	if s == ScopePrefix { // a prefix may end with a slash, or within a segment
		segments = segments[:len(segments)-1]
	}
	switch {
	case v == "" || len(v) > maxPath || strings.ContainsFunc(v, isControl):
		return fmt.Sprintf("must have 1 to %d characters", maxPath)
	case strings.HasPrefix(v, "/"):
		return "must not begin with a slash"
	case s != ScopePrefix && strings.HasSuffix(v, "/"):
		return "must not end with a slash"
	case slices.Contains(segments, "") || slices.Contains(segments, ".") || slices.Contains(segments, ".."):
		return "must be a path whose segments are names"
	}
	return ""
}

// fold readies a permission for comparison. The slash at a group's end is its boundary.
func (p *Permission) fold(provider Provider) {
	p.folded = provider.fold(p.Value)
	if p.Scope == ScopeGroup {
		p.folded += "/"
	}
}

// rights is what an organization may do with a repository.
type rights struct {
	allowed bool
	// readOnly stays only while no writable permission covers the repository (contract/behaviour.md §9.5).
	readOnly bool
	// exact says that a permission names the repository itself.
	exact bool
}

func rightsOf(list []Permission, folded string) rights {
	r := rights{readOnly: true}
	for _, p := range list {
		if p.matches(folded) {
			r.allowed = true
			r.readOnly = r.readOnly && p.ReadOnly
			r.exact = r.exact || p.Scope == ScopeRepo
		}
	}
	return r
}
