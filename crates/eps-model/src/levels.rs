//! The resolution levels that networks are built from, and what all configurations are checked for.

use crate::ModelError;
use crate::extent::{extent, length_of};
use crate::layers::GroupNorm;

/// The most channels of a layer, and pixels along a side: far beyond any network, and far from where products of them overflow.
pub(crate) const MOST_CHANNELS: usize = 1 << 16;

/// The most classes.
pub(crate) const MOST_CLASSES: usize = 1 << 24;

/// The most blocks of a level.
pub(crate) const MOST_BLOCKS: usize = 256;

/// The most levels.
pub(crate) const MOST_LEVELS: usize = 16;

/// What is asked of every architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The side length of the training images.
    pub(crate) img_resolution: usize,
    /// Channels of the input, those of conditions included.
    pub(crate) in_channels: usize,
    /// Channels of the images that are predicted.
    pub(crate) out_channels: usize,
    /// The number of classes.
    pub(crate) label_dim: usize,
    /// The number of resolution levels.
    pub(crate) levels: usize,
}

impl Outline {
    /// The number that both sides of an image must be multiples of.
    pub(crate) fn size_multiple(&self) -> usize {
        1 << self.levels.saturating_sub(1).min(MOST_LEVELS)
    }

    /// Whether images of `height` × `width` pixels fit the levels.
    pub(crate) fn check_size(&self, height: usize, width: usize) -> Result<(), ModelError> {
        let multiple = self.size_multiple();
        if [height, width].iter().all(|&side| side > 0 && side % multiple == 0) {
            return Ok(());
        }
        Err(ModelError::ImageSize { height, width, levels: self.levels, multiple })
    }

    /// Whether a network has images, levels and classes; `side`, `levels` and `classes` are the names of these fields.
    pub(crate) fn validate(
        &self,
        [side, levels, classes]: [&'static str; 3],
    ) -> Result<(), ModelError> {
        within("in_channels", self.in_channels, 1, MOST_CHANNELS)?;
        within("out_channels", self.out_channels, 1, MOST_CHANNELS)?;
        within(side, self.img_resolution, 1, MOST_CHANNELS)?;
        within(classes, self.label_dim, 0, MOST_CLASSES)?;
        require(
            (1..=MOST_LEVELS).contains(&self.levels),
            levels,
            format!("{} levels", self.levels),
            || format!("it must list at least 1 and at most {MOST_LEVELS}"),
        )?;
        require(
            self.check_size(self.img_resolution, self.img_resolution).is_ok(),
            side,
            self.img_resolution,
            || format!("{} levels need a multiple of {}", self.levels, self.size_multiple()),
        )
    }
}

/// An error that names the field unless a number is in a range, both ends included.
pub(crate) fn within(
    field: &'static str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<(), ModelError> {
    require((least..=most).contains(&value), field, value, || {
        format!("it must be at least {least} and at most {most}")
    })
}

/// Whether a field is a probability below 1.
pub(crate) fn check_probability(field: &'static str, value: f64) -> Result<(), ModelError> {
    require((0.0..1.0).contains(&value), field, value, || {
        "it is a probability: at least 0 and below 1".to_owned()
    })
}

/// The fields that [`crate::SongUNetConfig`] and [`crate::DhariwalUNetConfig`] have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Levels<'a> {
    pub(crate) img_resolution: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) label_dim: usize,
    pub(crate) model_channels: usize,
    pub(crate) channel_mult: &'a [usize],
    pub(crate) channel_mult_emb: usize,
    pub(crate) num_blocks: usize,
    pub(crate) attn_resolutions: &'a [usize],
    pub(crate) dropout: f64,
    pub(crate) label_dropout: f64,
    /// The channels of the first convolution.
    pub(crate) first_channels: usize,
}

impl Levels<'_> {
    pub(crate) fn outline(&self) -> Outline {
        Outline {
            img_resolution: self.img_resolution,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            label_dim: self.label_dim,
            levels: self.channel_mult.len(),
        }
    }

    /// Whether a network can be built from these levels.
    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        self.outline().validate(["img_resolution", "channel_mult", "label_dim"])?;
        within("model_channels", self.model_channels, 1, MOST_CHANNELS)?;
        within("channel_mult_emb", self.channel_mult_emb, 1, MOST_CHANNELS)?;
        within("num_blocks", self.num_blocks, 1, MOST_BLOCKS)?;
        let widest = self.channel_mult.iter().chain([&self.channel_mult_emb]).max();
        let widest = widest.map_or(0, |mult| mult.saturating_mul(self.model_channels));
        require(widest <= MOST_CHANNELS, "model_channels", self.model_channels, || {
            format!("times its multipliers it makes {widest} channels, more than {MOST_CHANNELS}")
        })?;
        require(
            self.channel_mult.iter().all(|&mult| mult > 0),
            "channel_mult",
            format!("{:?}", self.channel_mult),
            || "its multipliers, one a level, must be positive".to_owned(),
        )?;
        let levels = 0..self.channel_mult.len();
        let resolutions: Vec<_> = levels.map(|level| self.img_resolution >> level).collect();
        for &resolution in self.attn_resolutions {
            // EDM ignores a resolution that no level has, and its defaults rely on that.
            require(
                resolution > 0,
                "attn_resolutions",
                format!("{:?}", self.attn_resolutions),
                || format!("resolutions are positive; the levels have {resolutions:?}"),
            )?;
        }
        for (field, value) in [("dropout", self.dropout), ("label_dropout", self.label_dropout)] {
            check_probability(field, value)?;
        }
        for channels in self.normalised_channels() {
            let groups = length_of(GroupNorm::groups(extent(channels)));
            require(
                groups > 0 && channels % groups == 0,
                "model_channels",
                self.model_channels,
                || {
                    format!(
                        "with channel_mult {:?} a layer of {channels} channels would be normalised in \
                     {groups} groups; take a multiple of 32, or of 4 while no layer exceeds 128",
                        self.channel_mult
                    )
                },
            )?;
        }
        Ok(())
    }

    /// The channels of every group normalisation.
    fn normalised_channels(&self) -> Vec<usize> {
        let mut cout = self.first_channels;
        let mut channels = vec![cout];
        // The skip stack: what the encoder pushes, in its order.
        let mut skips = vec![cout];
        for (level, mult) in self.channel_mult.iter().enumerate() {
            if level > 0 {
                skips.push(cout);
            }
            cout = self.model_channels * mult;
            skips.extend(std::iter::repeat_n(cout, self.num_blocks));
            channels.push(cout);
        }
        for mult in self.channel_mult.iter().rev() {
            for _ in 0..=self.num_blocks {
                channels.push(cout + skips.pop().unwrap_or(0));
                cout = self.model_channels * mult;
            }
        }
        channels
    }
}

/// An error that names the field unless a requirement holds.
pub(crate) fn require(
    holds: bool,
    field: &'static str,
    value: impl ToString,
    requirement: impl FnOnce() -> String,
) -> Result<(), ModelError> {
    if holds {
        return Ok(());
    }
    Err(ModelError::Config { field, value: value.to_string(), requirement: requirement() })
}
