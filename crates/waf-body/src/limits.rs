//! What a body may cost.

/// Limits of the processors. How many arguments and bytes are kept in all is
/// the sink's to say (see [`crate::Full`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside one another, for JSON, XML, GraphQL and protobuf
    /// (`SecRequestBodyJsonDepthLimit`). Default 512.
    pub depth: u32,
    /// Parts of a multipart body, files among them. Default 1,024.
    pub parts: u32,
    /// Files of a multipart body (`SecUploadFileLimit`). Beyond it
    /// `MULTIPART_FILE_LIMIT_EXCEEDED` is raised and the file is still handed
    /// over. Default 100.
    pub files: u32,
    /// Bytes of one part's header lines together. Default 16,384.
    pub part_head: usize,
    /// Bytes of one header line of a part. Default 4,096, as in ModSecurity.
    pub part_line: usize,
    /// Bytes of the longest name that a path such as `json.a.b` may reach.
    /// Default 4,096.
    pub path: usize,
    /// Nodes of an XML document: elements and attributes together.
    /// Default 100,000.
    pub xml_nodes: u32,
    /// Attributes of one XML element. Default 256.
    pub xml_attributes: u32,
    /// Steps that one XPath selector may take over a document.
    /// Default 1,000,000.
    pub xpath_steps: u32,
    /// Lines of newline-delimited JSON, messages of gRPC. Default 10,000.
    pub messages: u32,
    /// Bytes that a compressed body may grow to. Default 13,107,200, the body
    /// limit that ModSecurity recommends.
    pub decoded: usize,
    /// How many times larger than what came in the decoded body may be, once
    /// it is larger than 64 KiB. Default 200.
    pub decode_ratio: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 512,
            parts: 1024,
            files: 100,
            part_head: 16 * 1024,
            part_line: 4096,
            path: 4096,
            xml_nodes: 100_000,
            xml_attributes: 256,
            xpath_steps: 1_000_000,
            messages: 10_000,
            decoded: 13_107_200,
            decode_ratio: 200,
        }
    }
}
