package main

import (
	"context"

	"gantry/internal/server"
)

type openapiCmd struct {
	Which string `arg:"" name:"version" enum:"v1,v2,v3,gantry" help:"v1, v2 or v3, or gantry for what the contract lacks."`
}

// Run prints the document. It needs no server and no data.
func (o *openapiCmd) Run(_ context.Context, io *stdio) error {
	text, err := server.OpenAPI(o.Which)
	if err != nil {
		return err
	}
	_, err = io.out.Write(text)
	return err
}
