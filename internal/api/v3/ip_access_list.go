package v3

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
)

func init() { registrations = append(registrations, registerIPAccessList) }

// IpAccessListRequest holds ranges to merge into the list, or to become it.
type IpAccessListRequest struct {
	IPRanges []string `json:"ip_ranges" maxItems:"1000" nullable:"false" doc:"CIDR ranges; a bare address is a range of one."`
}

// IpAccessListResponse is the list in canonical CIDR form, sorted. An empty one lets every address in.
type IpAccessListResponse struct {
	IPRanges []netip.Prefix `json:"ip_ranges" nullable:"false"`
}

type ipListOutput struct{ Body IpAccessListResponse }

func ipListOf(list []netip.Prefix, err error) (*ipListOutput, error) {
	if err != nil {
		return nil, err
	}
	return &ipListOutput{Body: IpAccessListResponse{IPRanges: list}}, nil
}

func registerIPAccessList(a *kit.API, rooms Rooms) {
	op := func(id, method, summary, description string) kit.Op {
		return kit.Op{
			Operation: huma.Operation{
				OperationID: id, Method: method, Path: "/v3/enterprise/ip-access-list", Tags: []string{"ip-access-list"},
				Summary: summary, Description: description, DefaultStatus: http.StatusOK,
			},
			Any: []access.Permission{access.ManageEnterpriseSettings, access.ManageIPWhitelist}, Enterprise: true,
		}
	}
	const counts = " It counts from the next request on, so a caller may lock itself out."
	type input struct{ Body IpAccessListRequest }
	kit.Register(a, op("getIpAccessList", http.MethodGet, "Read the IP access list", "An empty list lets every address in."),
		func(ctx context.Context, s access.Subject, _ *struct{}) (*ipListOutput, error) {
			return ipListOf(rooms.Members.IPList(ctx, s))
		})
	kit.Register(a, op("addIpAccessListRanges", http.MethodPost, "Merge ranges into the IP access list",
		"Ranges that are there already stay as they are."+counts),
		func(ctx context.Context, s access.Subject, in *input) (*ipListOutput, error) {
			return ipListOf(rooms.Members.AddIPRanges(ctx, s, in.Body.IPRanges))
		})
	kit.Register(a, op("replaceIpAccessList", http.MethodPut, "Replace the IP access list", "The body becomes the whole list."+counts),
		func(ctx context.Context, s access.Subject, in *input) (*ipListOutput, error) {
			return ipListOf(rooms.Members.ReplaceIPList(ctx, s, in.Body.IPRanges))
		})
	kit.Register(a, op("clearIpAccessList", http.MethodDelete, "Clear the IP access list", "Every address is let in again."),
		func(ctx context.Context, s access.Subject, _ *struct{}) (*ipListOutput, error) {
			return ipListOf(rooms.Members.ClearIPList(ctx, s))
		})
}
