package main

import "gantry/internal/server"

type openapiCmd struct {
	Which string `arg:"" enum:"v1,v2,v3,gantry" help:"v1, v2, v3 or gantry."`
}

// Run prints the document. It needs no server and no data.
func (o *openapiCmd) Run(io *stdio) error {
	text, err := server.OpenAPI(o.Which)
	if err != nil {
		return err
	}
	_, err = io.out.Write(text)
	return err
}
