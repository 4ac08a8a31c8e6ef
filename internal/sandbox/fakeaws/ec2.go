package fakeaws

import (
	"encoding/xml"
	"net/http"
)

const ec2Namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

// ec2Service covers what touches security groups.
func (a *AWS) ec2Service() *service {
	ops := map[string]*operation{
		"DescribeRegions":             {run: a.describeRegions},
		"DescribeVpcs":                {run: a.describeVPCs},
		"DescribeNetworkInterfaces":   {run: a.describeNetworkInterfaces},
		"DescribeSecurityGroups":      {run: a.describeGroups},
		"DescribeSecurityGroupRules":  {run: a.describeRules},
		"CreateSecurityGroup":         {event: "CreateSecurityGroup", params: createGroupParams, run: a.createGroup},
		"DeleteSecurityGroup":         {event: "DeleteSecurityGroup", params: groupParams, run: a.deleteGroup},
		"ModifySecurityGroupRules":    {event: "ModifySecurityGroupRules", params: modifyParams, run: a.modifyRules},
		"CreateTags":                  {event: "CreateTags", params: tagParams, run: a.createTags},
		"CreateManagedPrefixList":     {event: "CreateManagedPrefixList", params: createListParams, run: a.createList},
		"GetManagedPrefixListEntries": {run: a.listEntries},
		"DeleteTags":                  {event: "DeleteTags", params: tagParams, run: a.deleteTags},
	}
	for suffix, egress := range map[string]bool{"Ingress": false, "Egress": true} {
		ops["AuthorizeSecurityGroup"+suffix] = &operation{
			event: "AuthorizeSecurityGroup" + suffix, params: permissionParams,
			run: func(x *exchange) (*result, error) { return a.authorize(x, egress) },
		}
		ops["RevokeSecurityGroup"+suffix] = &operation{
			event: "RevokeSecurityGroup" + suffix, params: permissionParams,
			run: func(x *exchange) (*result, error) { return a.revoke(x, egress) },
		}
	}
	return &service{
		name: "ec2", source: "ec2.amazonaws.com", newID: a.ids.uuid,
		operation: func(x *exchange) (string, *operation) {
			name, op := queryOperation(x, ops)
			x.Resource = x.form.text("GroupId")
			if ids := x.form.at("GroupId").texts(); len(ids) == 1 {
				x.Resource = ids[0]
			}
			return name, op
		},
		write: writeEC2,
		fail:  failEC2,
	}
}

// ec2Reply puts the request id in front of an answer's members.
type ec2Reply struct {
	RequestID string `xml:"requestId"`
	Body      any
}

// MarshalXML writes the members beside the request id, not below it.
func (r ec2Reply) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if err := e.EncodeElement(r.RequestID, element("requestId")); err != nil {
		return err
	}
	if m, ok := r.Body.(members); ok {
		for _, one := range m {
			if err := e.EncodeElement(one.value, element(one.name)); err != nil {
				return err
			}
		}
	}
	return e.EncodeToken(start.End())
}

// members are an answer's elements in order.
type members []member

type member struct {
	name  string
	value any
}

func element(name string) xml.StartElement {
	return xml.StartElement{Name: xml.Name{Local: name}}
}

// set is a list as EC2 writes it: <item> after <item>.
type set[T any] struct {
	Items []T `xml:"item"`
}

func writeEC2(x *exchange, body any) {
	x.w.Header().Set("x-amzn-requestid", x.RequestID)
	writeXML(x, http.StatusOK, x.Action+"Response", ec2Namespace, ec2Reply{RequestID: x.RequestID, Body: body})
}

func failEC2(x *exchange, err *Error) {
	x.w.Header().Set("x-amzn-requestid", x.RequestID)
	type one struct{ Code, Message string }
	writeXML(x, err.Status, "Response", "", struct {
		Errors    []one  `xml:"Errors>Error"`
		RequestID string `xml:"RequestID"`
	}{[]one{{err.Code, err.Message}}, x.RequestID})
}

// dry answers a dry run of a call that would succeed.
func dry(x *exchange) error {
	if x.form.text("DryRun") != "true" {
		return nil
	}
	return failure(http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
}

func bad(code, message string) *Error { return failure(http.StatusBadRequest, code, message) }

func missing(name string) *Error {
	return bad("MissingParameter", "The request must contain the parameter "+name)
}
