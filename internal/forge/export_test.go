package forge

import "gantry/internal/platform/db"

// NewClient is the client that asks providers.
var NewClient = newClient

// RightsOf is what permissions allow on a folded path of a provider.
func RightsOf(p Provider, list []PermissionParams, path string) (allowed, readOnly bool, err error) {
	made, err := checkPermissions(list)
	for i := range made {
		made[i].fold(p)
	}
	r := rightsOf(made, p.fold(path))
	return r.allowed, r.allowed && r.readOnly, err
}

// UsableQuery is the statement of one connection's part of Usable, with its arguments in place.
func UsableQuery(orgID, connectionID string) (string, []any) {
	return filter{OrgID: orgID}.query(connectionID, "a", 101)
}

// Fresh and RetryListing are how long what is known, and a failure, stand.
const (
	Fresh        = fresh
	RetryListing = retryListing
)

// Sealed reads what is kept of a token.
func Sealed(s db.Scanner) ([]byte, error) {
	var b []byte
	return b, s.Scan(&b)
}
