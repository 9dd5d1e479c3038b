package member

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// The IP access list says from where a service user's or a person's key is good (contract/behaviour.md §11.1). An empty list is open.
// It counts from the next request on, so whoever changes it may lock themselves out. Workers' keys have lists of their own.
//
// What comes through a unix socket has no address and is never refused: only this machine's user who owns the data reaches it.

// MaxIPRanges bounds a list: every request is held to all of it.
const MaxIPRanges = 1000

// parseRanges reads ranges and puts them into their one form: CIDR with the host's bits zeroed, a bare address as /32 or /128, IPv4
// within IPv6 as IPv4, sorted, each once.
func parseRanges(field string, texts []string) ([]netip.Prefix, error) {
	if len(texts) > MaxIPRanges {
		return nil, fault.InvalidField(field, "must have at most %d ranges", MaxIPRanges)
	}
	out := make([]netip.Prefix, 0, len(texts))
	for i, text := range texts {
		p, err := parseRange(text)
		if err != nil {
			return nil, fault.InvalidField(fmt.Sprintf("%s.%d", field, i), "must be an address or a CIDR range, like 192.0.2.7 or 2001:db8::/32")
		}
		out = append(out, p)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), nil
}

func parseRange(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, errors.Join(err, errZone)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	const mapped = 96 // bits before the IPv4 address in ::ffff:0:0/96
	if a := p.Addr(); a.Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-mapped)
	}
	return p.Masked(), nil
}

var errZone = errors.New("an address with a zone is no range")

// ErrAddress refuses an address before its key is looked at, so it tells nothing about the key.
var ErrAddress = fault.New(fault.Unauthenticated, "requests from this address are not allowed: it is not in the IP access list")

// listHolders may read and change the list, under the older name and the newer (contract/behaviour.md §2.2).
var listHolders = []access.Permission{access.ManageEnterpriseSettings, access.ManageIPWhitelist}

// IPList gives the list, sorted.
func (s *Service) IPList(ctx context.Context, sub access.Subject) ([]netip.Prefix, error) {
	if err := access.RequireAny(sub, "", listHolders...); err != nil {
		return nil, err
	}
	return readIPList(ctx, s.db.Reader())
}

// AddIPRanges merges ranges into the list.
func (s *Service) AddIPRanges(ctx context.Context, sub access.Subject, ranges []string) ([]netip.Prefix, error) {
	return s.changeIPList(ctx, sub, ranges, func(old, given []netip.Prefix) []netip.Prefix { return slices.Concat(old, given) })
}

// ReplaceIPList makes the ranges the whole list. No ranges open every door.
func (s *Service) ReplaceIPList(ctx context.Context, sub access.Subject, ranges []string) ([]netip.Prefix, error) {
	return s.changeIPList(ctx, sub, ranges, func(_, given []netip.Prefix) []netip.Prefix { return given })
}

// ClearIPList opens every door.
func (s *Service) ClearIPList(ctx context.Context, sub access.Subject) ([]netip.Prefix, error) {
	return s.ReplaceIPList(ctx, sub, nil)
}

func (s *Service) changeIPList(ctx context.Context, sub access.Subject, texts []string, change func(old, given []netip.Prefix) []netip.Prefix,
) ([]netip.Prefix, error) {
	if err := access.RequireAny(sub, "", listHolders...); err != nil {
		return nil, err
	}
	given, err := parseRanges("ip_ranges", texts)
	if err != nil {
		return nil, err
	}
	var list []netip.Prefix
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		old, err := lockIPList(ctx, tx)
		if err != nil {
			return err
		}
		list = append([]netip.Prefix{}, change(old, given)...) // never nil: an empty list is [], not null
		slices.SortFunc(list, netip.Prefix.Compare)
		list = slices.Compact(list)
		if len(list) > MaxIPRanges {
			return fault.InvalidField("ip_ranges", "the list would have %d ranges, more than %d", len(list), MaxIPRanges)
		}
		if slices.Equal(list, old) {
			return nil
		}
		if err := writeIPList(ctx, tx, list); err != nil {
			return err
		}
		if err := s.changedTx(ctx, tx, changeIPList, ""); err != nil {
			return err
		}
		return audit.RecordTx(ctx, tx, sub, s.db.Clock().Millis(), audit.Entry{
			Action: audit.UpdateEnterpriseSettings, Data: map[string]any{"ip_ranges": list, "previous_ip_ranges": old},
		})
	})
	return list, err
}

// ipListRow is the row of settings that holds the list as JSON.
const ipListRow = "ip_access_list"

func scanIPList(s db.Scanner) ([]netip.Prefix, error) {
	var text string
	list := []netip.Prefix{}
	if err := s.Scan(&text); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("the IP access list: %w", err)
	}
	return list, nil
}

func readIPList(ctx context.Context, q db.Querier) ([]netip.Prefix, error) {
	list, err := db.One(ctx, q, scanIPList, `SELECT value FROM settings WHERE name = $1`, ipListRow)
	if errors.Is(err, db.ErrNone) {
		return []netip.Prefix{}, nil
	}
	return list, err
}

// lockIPList reads the list for a change of it: a second change waits.
func lockIPList(ctx context.Context, tx *db.Tx) ([]netip.Prefix, error) {
	return db.One(ctx, tx, scanIPList, `INSERT INTO settings (name, value) VALUES ($1, '[]')
		ON CONFLICT (name) DO UPDATE SET value = settings.value RETURNING value`, ipListRow)
}

func writeIPList(ctx context.Context, tx *db.Tx, list []netip.Prefix) error {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `UPDATE settings SET value = $1 WHERE name = $2`, string(text), ipListRow)
	return err
}

// AllowAddress refuses an address that the IP access list doesn't hold, for what is open without a key. The answer comes from memory,
// as Authenticate's does.
func (a *Authenticator) AllowAddress(ctx context.Context, remote netip.Addr) error {
	if !remote.IsValid() {
		return nil
	}
	if err := a.fresh(ctx); err != nil {
		return err
	}
	list := a.list.Load()
	if list == nil {
		var err error
		if list, err = a.loadIPList(ctx); err != nil {
			return err
		}
	}
	if !access.From(*list, remote) {
		return ErrAddress
	}
	return nil
}

// loadIPList reads the list and keeps it, unless a change came meanwhile.
func (a *Authenticator) loadIPList(ctx context.Context) (*[]netip.Prefix, error) {
	a.mu.RLock()
	generation := a.generation
	a.mu.RUnlock()
	list, err := readIPList(ctx, a.db.Reader())
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.generation == generation {
		a.list.Store(&list)
	}
	return &list, nil
}

// AllowAddress is the Authenticator's.
func (s *Service) AllowAddress(ctx context.Context, remote netip.Addr) error {
	return s.auth.AllowAddress(ctx, remote)
}
