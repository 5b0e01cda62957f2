package policy

// RequestOf returns what the pod's annotations ask of a container with the
// request key: any text, of which only a change means something. It is empty
// when they ask for nothing.
func RequestOf(pod map[string]string, container string) string {
	if value := pod[container+"."+Domain+"/"+KeyRequest]; value != "" {
		return value
	}
	return pod[Domain+"/"+KeyRequest]
}
