//! The families of networks that are imported, by the names of their tensors.

/// A family of published networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// EDM's SongUNet and DhariwalUNet.
    Edm,
    /// guided-diffusion's UNetModel.
    Guided,
    /// diffusers' UNet2DModel.
    Diffusers,
    /// EDM2's Precond.
    Edm2,
}

/// What other programs put before the names of a network's tensors.
const WRAPPERS: [&str; 8] = [
    "module.",
    "_orig_mod.",
    "net.",
    "ema_model.",
    "network.",
    "denoiser.",
    "diffusion_model.",
    "model.",
];

/// A name without what other programs put before it.
pub(super) fn unwrapped(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = rest;
    }
    name
}

/// Whether a name is of a pattern, in which one `*` may stand for anything.
pub(super) fn is_like(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, end)) => {
            name.strip_prefix(start).is_some_and(|rest| rest.strip_suffix(end).is_some())
        }
    }
}

/// How diffusers called the tensors of an attention until 2023, and how since.
const RENAMED: [(&str, &str); 4] = [
    (".query.", ".to_q."),
    (".key.", ".to_k."),
    (".value.", ".to_v."),
    (".proj_attn.", ".to_out.0."),
];

impl Family {
    pub(super) const ALL: [Self; 4] = [Self::Edm, Self::Guided, Self::Diffusers, Self::Edm2];

    /// How messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Edm => "EDM's networks",
            Self::Guided => "guided-diffusion's UNetModel",
            Self::Diffusers => "diffusers' UNet2DModel",
            Self::Edm2 => "EDM2's Precond",
        }
    }

    /// A tensor that every network of the family has: what stands before its name stands before all of that network.
    fn anchor(self) -> &'static str {
        match self {
            Self::Edm => "map_layer0.weight",
            Self::Guided => "time_embed.0.weight",
            Self::Diffusers => "time_embedding.linear_1.weight",
            Self::Edm2 => "unet.emb_noise.weight",
        }
    }

    /// Tensors that every network of the family has, by which an unknown file is compared with it: patterns of
    /// [`is_like`], without what stands before all names.
    pub(super) fn characteristic(self) -> [&'static str; 8] {
        match self {
            Self::Edm => [
                "map_layer0.weight",
                "map_layer0.bias",
                "map_layer1.weight",
                "map_layer1.bias",
                "enc.*_conv.weight",
                "enc.*_block0.norm0.weight",
                "dec.*_in0.norm0.weight",
                "dec.*_in1.norm0.weight",
            ],
            Self::Guided => [
                "time_embed.0.weight",
                "time_embed.2.weight",
                "input_blocks.0.0.weight",
                "input_blocks.1.0.in_layers.0.weight",
                "middle_block.1.qkv.weight",
                "output_blocks.0.0.in_layers.0.weight",
                "out.0.weight",
                "out.2.weight",
            ],
            Self::Diffusers => [
                "time_embedding.linear_1.weight",
                "time_embedding.linear_2.weight",
                "conv_in.weight",
                "down_blocks.0.resnets.0.norm1.weight",
                "mid_block.resnets.0.norm1.weight",
                "up_blocks.0.resnets.0.norm1.weight",
                "conv_norm_out.weight",
                "conv_out.weight",
            ],
            Self::Edm2 => [
                "unet.emb_fourier.freqs",
                "unet.emb_noise.weight",
                "unet.enc.*_conv.weight",
                "unet.enc.*_block0.conv_res0.weight",
                "unet.dec.*_in0.conv_res0.weight",
                "unet.out_conv.weight",
                "unet.out_gain",
                "logvar_linear.weight",
            ],
        }
    }

    /// What the original itself puts before all names, which some state dicts leave out.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Edm => "model.",
            Self::Guided | Self::Diffusers | Self::Edm2 => "",
        }
    }

    /// The family of a network by the name of one of its tensors, and what stands before its names.
    pub(super) fn of_anchor(name: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|family| {
            let prefix = name.strip_suffix(family.anchor())?;
            let is_whole = prefix.is_empty() || prefix.ends_with('.');
            is_whole.then_some((family, prefix))
        })
    }

    /// The name that a tensor has in this program, of its name in a file without what stands before all.
    pub(super) fn tensor_name(self, name: &str) -> String {
        let mut name = format!("{}{name}", self.prefix());
        if self == Self::Diffusers && name.contains("attentions.") {
            for (old, new) in RENAMED {
                name = name.replace(old, new);
            }
        }
        name
    }
}
