package access

// Set is a set of permissions. The zero value is empty.
type Set uint64

// SetOf makes a set of permissions and all that they imply.
func SetOf(ps ...Permission) Set {
	var s Set
	for _, p := range ps {
		s = s.with(p)
	}
	return s
}

func (s Set) with(p Permission) Set {
	if s.Has(p) {
		return s
	}
	s |= 1 << p
	for _, q := range catalogue[p].Implies {
		s = s.with(q)
	}
	return s
}

// Has reports whether p is in the set. None never is.
func (s Set) Has(p Permission) bool { return p != None && s&(1<<p) != 0 }

// Covers reports whether every permission of t is in s.
func (s Set) Covers(t Set) bool { return t&^s == 0 }

// List gives the permissions in the order of the catalogue.
func (s Set) List() []Permission {
	var out []Permission
	for p := None + 1; p < permissionCount; p++ {
		if s.Has(p) {
			out = append(out, p)
		}
	}
	return out
}

// Names gives the permissions' names in the order of the catalogue.
func (s Set) Names() []string {
	out := []string{}
	for _, p := range s.List() {
		out = append(out, p.String())
	}
	return out
}

// The bits must fit.
var _ [64 - permissionCount]struct{}

func scoped(sc Scope) Set {
	var s Set
	for p := None + 1; p < permissionCount; p++ {
		if catalogue[p].Scope == sc {
			s |= 1 << p
		}
	}
	return s
}
