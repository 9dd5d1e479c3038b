package access

import (
	"net/netip"
	"slices"
)

// From reports whether an address is in one of the ranges. No ranges are all addresses. What has no address came by a unix socket,
// which only this machine's owner of the data reaches, and is never refused.
func From(ranges []netip.Prefix, a netip.Addr) bool {
	if len(ranges) == 0 || !a.IsValid() {
		return true
	}
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}
