//go:build lambda

package main

import "github.com/spf13/cobra"

func ownMachine(*process) []*cobra.Command { return nil }
